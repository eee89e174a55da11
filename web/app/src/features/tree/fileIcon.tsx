/** A small sign for what a node is. */
import {
  Braces,
  File,
  FileArchive,
  FileCode2,
  FileImage,
  FileText,
  Folder,
  FolderOpen,
  type LucideIcon,
  Settings2,
} from 'lucide-react';
import type { NodeKind } from '../../api/types';

const BY_EXTENSION: Record<string, [LucideIcon, string]> = {
  py: [FileCode2, 'blue'],
  js: [FileCode2, 'amber'],
  mjs: [FileCode2, 'amber'],
  cjs: [FileCode2, 'amber'],
  ts: [FileCode2, 'blue'],
  tsx: [FileCode2, 'blue'],
  jsx: [FileCode2, 'amber'],
  rs: [FileCode2, 'red'],
  go: [FileCode2, 'blue'],
  sh: [FileCode2, 'green'],
  html: [FileCode2, 'red'],
  css: [FileCode2, 'violet'],
  json: [Braces, 'amber'],
  md: [FileText, 'blue'],
  txt: [FileText, 'grey'],
  toml: [Settings2, 'grey'],
  yml: [Settings2, 'grey'],
  yaml: [Settings2, 'grey'],
  png: [FileImage, 'violet'],
  jpg: [FileImage, 'violet'],
  gif: [FileImage, 'violet'],
  svg: [FileImage, 'violet'],
};

export function FileIcon(props: { name: string; kind: NodeKind; open?: boolean }) {
  if (props.kind === 'folder') {
    const Icon = props.open ? FolderOpen : Folder;
    return <Icon size={15} className="file-icon" data-tint="folder" aria-hidden />;
  }
  const extension = props.name.slice(props.name.lastIndexOf('.') + 1).toLowerCase();
  const fallback: [LucideIcon, string] =
    props.kind === 'binary' || props.kind === 'large' ? [FileArchive, 'grey'] : [File, 'grey'];
  const [Icon, tint] = BY_EXTENSION[extension] ?? fallback;
  return <Icon size={15} className="file-icon" data-tint={tint} aria-hidden />;
}
