/** The part of Monaco's own difference that we use; it ships without types. `textDiff.test.ts` fails should a new version change it. */
declare module 'monaco-editor/editor/common/diff/linesDiffComputers.js' {
  interface DiffRange {
    startLineNumber: number;
    startColumn: number;
    endLineNumber: number;
    endColumn: number;
  }
  interface Computer {
    computeDiff(
      original: string[],
      modified: string[],
      options: { ignoreTrimWhitespace: boolean; maxComputationTimeMs: number; computeMoves: boolean },
    ): {
      changes: readonly {
        innerChanges: readonly { originalRange: DiffRange; modifiedRange: DiffRange }[] | undefined;
      }[];
    };
  }
  export const linesDiffComputers: { getDefault(): Computer };
}
