/**
 * What a person does with files, as commands to the server. Each resolves to `null` or to a sentence that says why it was
 * refused; the tree itself changes when the server's projection arrives.
 */
import { sentence } from '../../api/client';
import { saveFile } from '../../ui/saveFile';
import type { RoomSession } from '../room/roomSession';
import type { TreeNode } from './treeModel';

export type Outcome = { problem: string } | { problem: null; id: string };

export class TreeActions {
  constructor(private readonly session: RoomSession) {}

  create(parent: string | null, name: string, kind: 'folder' | 'text'): Promise<Outcome> {
    const body = kind === 'text' ? { parent, name, kind, text: '' } : { parent, name, kind };
    return this.attempt(async () => (await this.session.api.createNode(this.room, body)).id);
  }

  /** Sends files one after the other, and ends with the first that is refused. */
  send(parent: string | null, files: readonly File[]): Promise<Outcome> {
    return this.attempt(async () => {
      let last = '';
      for (const file of files)
        last = (await this.session.api.sendFile(this.room, parent, file.name, file)).id;
      return last;
    });
  }

  rename(node: TreeNode, name: string): Promise<Outcome> {
    return this.attempt(async () => {
      await this.session.api.changeNode(this.room, node.id, { name, rev: node.rev });
      return node.id;
    });
  }

  move(node: TreeNode, parent: string | null): Promise<Outcome> {
    return this.attempt(async () => {
      await this.session.api.changeNode(this.room, node.id, { parent, rev: node.rev });
      return node.id;
    });
  }

  remove(node: TreeNode): Promise<Outcome> {
    return this.attempt(async () => {
      await this.session.api.deleteNode(this.room, node.id, node.rev);
      return node.id;
    });
  }

  /** Hands the file's bytes to the browser's download. */
  download(node: Pick<TreeNode, 'id' | 'name'>): Promise<Outcome> {
    return this.attempt(async () => {
      saveFile(await this.session.api.content(this.room, node.id), node.name);
      return node.id;
    });
  }

  private get room(): string {
    return this.session.room.id;
  }

  private async attempt(action: () => Promise<string>): Promise<Outcome> {
    try {
      return { problem: null, id: await action() };
    } catch (error) {
      return { problem: sentence(error) };
    }
  }
}
