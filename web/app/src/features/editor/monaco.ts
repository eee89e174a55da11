/**
 * Monaco without its language servers: the slim entry, the editor's features, grammars that load on demand, and the one
 * worker it needs. Everything in the app that needs Monaco at run time imports it from here, inside a lazy chunk.
 */
import * as monaco from 'monaco-editor/editor';
import EditorWorker from 'monaco-editor/editor/editor.worker?worker';
import 'monaco-editor/features/register.all';
import 'monaco-editor/languages/definitions/register.all';

self.MonacoEnvironment = { getWorker: () => new EditorWorker() };

export { monaco };
