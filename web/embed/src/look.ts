/**
 * The style of the elements. It is made by script, which a content security policy does not restrict; a page changes it by the variables at the top, from outside, and
 * by `::part(…)`.
 */

const VARIABLES = `
:host {
  --_bg: var(--buildspaces-background, light-dark(#ffffff, #15181e));
  --_bar: var(--buildspaces-bar, light-dark(#f6f7f9, #1a1e25));
  --_text: var(--buildspaces-text, light-dark(#1b1e27, #e5e8ef));
  --_quiet: var(--buildspaces-quiet, light-dark(#596072, #a0a8b8));
  --_line: var(--buildspaces-line, light-dark(#dfe3ea, #2a2f39));
  --_accent: var(--buildspaces-accent, light-dark(#4250c8, #8e9bff));
  --_ok: light-dark(#11703a, #4cc57f);
  --_warn: light-dark(#8f5600, #e6b450);
  --_bad: light-dark(#b3232d, #ff8a86);
  --_warn-soft: light-dark(#fdf3de, #2e2513);
  --_bad-soft: light-dark(#fdecec, #331a1c);
  --_sans: var(--buildspaces-font, system-ui, -apple-system, "Segoe UI", sans-serif);
  --_mono: var(--buildspaces-code-font, ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, monospace);
  --_size: var(--buildspaces-code-size, 0.875rem);
  --_radius: var(--buildspaces-radius, 10px);
  color: var(--_text);
}
:host([hidden]) { display: none; }
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
* { box-sizing: border-box; }
`;

export const EDITOR = `${VARIABLES}
:host { display: block; block-size: 22rem; min-block-size: 7rem; contain: layout style; }
.frame {
  display: flex; flex-direction: column; block-size: 100%; overflow: hidden; position: relative;
  border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_bg);
  transition: border-color 120ms, box-shadow 120ms;
}
.frame:has(.cm-content:focus-visible) { border-color: var(--_accent); box-shadow: 0 0 0 3px color-mix(in srgb, var(--_accent) 18%, transparent); }
.body { flex: 1; min-block-size: 0; position: relative; }
.editor { position: absolute; inset: 0; }
.editor[hidden], .skeleton[hidden], .message[hidden] { display: none; }

.status {
  display: flex; align-items: center; gap: 0.5em; padding: 0.3rem 0.75rem; min-block-size: 1.9rem;
  border-block-start: 1px solid var(--_line); background: var(--_bar); color: var(--_quiet);
  font: 500 0.75rem/1.3 var(--_sans);
}
.status .dot { inline-size: 0.5rem; block-size: 0.5rem; border-radius: 50%; background: var(--_quiet); flex: none; }
.status .file { margin-inline-start: auto; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-family: var(--_mono); }
[data-mood="saved"] .dot { background: var(--_ok); }
[data-mood="saving"] .dot, [data-mood="loading"] .dot { background: var(--_accent); animation: breathe 1.2s ease-in-out infinite; }
[data-mood="offline"] .dot { background: var(--_warn); }
[data-mood="offline"] .status { color: var(--_warn); background: color-mix(in srgb, var(--_warn-soft) 60%, var(--_bar)); }
[data-mood="denied"] .dot, [data-mood="refused"] .dot, [data-mood="missing"] .dot { background: var(--_bad); }
[data-mood="denied"] .status, [data-mood="refused"] .status, [data-mood="missing"] .status { color: var(--_bad); }
@keyframes breathe { 50% { opacity: 0.35; } }

.message { display: flex; flex-wrap: wrap; align-items: center; gap: 0.75rem; font: 400 0.875rem/1.45 var(--_sans); }
.message span { overflow-wrap: anywhere; }
.frame:not([data-empty]) .message { padding: 0.55rem 0.75rem; border-block-end: 1px solid var(--_line); background: var(--_warn-soft); }
.frame:not([data-empty])[data-mood="denied"] .message, .frame:not([data-empty])[data-mood="refused"] .message { background: var(--_bad-soft); }
.frame[data-empty] .message {
  position: absolute; inset: 0 0 1.9rem; z-index: 1; flex-direction: column; justify-content: center; text-align: center; padding: 1.5rem;
}
.frame[data-empty] .message span { max-inline-size: 34rem; }
button {
  font: 600 0.8125rem/1 var(--_sans); color: var(--_text); background: var(--_bg); border: 1px solid var(--_line); border-radius: 7px; padding: 0.5em 0.85em; cursor: pointer;
}
button:hover { border-color: var(--_quiet); }
button:focus-visible { outline: 2px solid var(--_accent); outline-offset: 1px; }
button[hidden] { display: none; }

.skeleton { position: absolute; inset: 0; padding: 0.9rem 1rem; display: grid; align-content: start; gap: 0.7rem; }
.skeleton i { block-size: 0.65rem; border-radius: 4px; background: var(--_line); opacity: 0.8; animation: breathe 1.6s ease-in-out infinite; }
.skeleton i:nth-child(1) { inline-size: 46%; } .skeleton i:nth-child(2) { inline-size: 72%; animation-delay: 0.1s; }
.skeleton i:nth-child(3) { inline-size: 61%; animation-delay: 0.2s; } .skeleton i:nth-child(4) { inline-size: 24%; animation-delay: 0.3s; }

.cm-editor { block-size: 100%; background: var(--_bg); color: var(--_text); }
.cm-editor.cm-focused { outline: none; }
.cm-editor .cm-scroller { font: 400 var(--_size)/1.6 var(--_mono); scrollbar-width: thin; scrollbar-color: var(--_line) transparent; }
.cm-editor .cm-content { padding: 0.7rem 0; caret-color: var(--_text); }
.cm-editor .cm-line { padding: 0 1rem 0 0.5rem; }
.cm-editor .cm-gutters { background: var(--_bg); color: color-mix(in srgb, var(--_quiet) 75%, var(--_bg)); border: 0; padding-inline-start: 0.35rem; }
.cm-editor .cm-activeLine, .cm-editor .cm-activeLineGutter { background: transparent; }
.cm-editor.cm-focused .cm-activeLine { background: color-mix(in srgb, var(--_quiet) 8%, transparent); }
.cm-editor.cm-focused .cm-activeLineGutter { background: color-mix(in srgb, var(--_quiet) 8%, transparent); color: var(--_text); }
.cm-editor .cm-cursor { border-inline-start: 2px solid var(--_text); }
.cm-editor .cm-selectionBackground, .cm-editor.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground { background: color-mix(in srgb, var(--_accent) 26%, transparent); }
.cm-editor .cm-placeholder { color: var(--_quiet); }
.cm-editor .cm-matchingBracket { background: color-mix(in srgb, var(--_accent) 20%, transparent); outline: none; }
.cm-editor .cm-searchMatch { background: color-mix(in srgb, var(--_warn) 28%, transparent); border-radius: 2px; }
.cm-editor .cm-searchMatch-selected { background: color-mix(in srgb, var(--_warn) 55%, transparent); }
.cm-editor .cm-panels { background: var(--_bar); color: var(--_text); border-color: var(--_line); font: 0.8125rem/1.4 var(--_sans); }
.cm-editor .cm-panels-top { border-block-end: 1px solid var(--_line); }
.cm-editor .cm-panel.cm-search { padding: 0.4rem 1.8rem 0.4rem 0.75rem; }
.cm-editor .cm-panel.cm-search label { font-size: 0.75rem; }
.cm-editor .cm-textfield { background: var(--_bg); color: inherit; border: 1px solid var(--_line); border-radius: 6px; font: inherit; padding: 0.2em 0.5em; }
.cm-editor .cm-button { background: var(--_bg); color: inherit; border: 1px solid var(--_line); border-radius: 6px; font: inherit; padding: 0.2em 0.6em; }
.cm-editor .cm-panel.cm-search [name="close"] { color: inherit; border: 0; background: none; font-size: 1.1rem; inset-block-start: 0.3rem; inset-inline-end: 0.5rem; }

.tok-comment { color: var(--_quiet); font-style: italic; }
.tok-keyword { color: light-dark(#9a2fb0, #d59bf6); }
.tok-string { color: light-dark(#23704a, #8fd6a4); }
.tok-number { color: light-dark(#a14a00, #f0b077); }
.tok-function { color: light-dark(#1b5fc2, #86b8ff); }
.tok-type { color: light-dark(#0b7285, #6fd3e0); }
.tok-heading { color: light-dark(#9a2fb0, #d59bf6); font-weight: 600; }
.tok-property { color: light-dark(#7a4d00, #e3c77f); }
.tok-link { color: var(--_accent); text-decoration: underline; }
.tok-emphasis { font-style: italic; } .tok-strong { font-weight: 700; } .tok-invalid { color: var(--_bad); }

.caret { position: relative; border-inline-start: 2px solid var(--colour); margin-inline: -1px; pointer-events: none; }
.caret .name {
  position: absolute; inset-block-end: calc(100% - 0.15em); inset-inline-start: -2px; z-index: 5; padding: 0.15em 0.45em; border-radius: 5px 5px 5px 0;
  background: var(--colour); color: var(--ink); font: 600 0.6875rem/1.35 var(--_sans); white-space: nowrap; user-select: none;
  animation: fade 2.6s forwards;
}
.cm-line:first-child .caret .name { inset-block: calc(100% - 0.15em) auto; border-radius: 0 5px 5px 5px; }
.cm-line:hover .caret .name { animation: none; opacity: 1; }
.selected { background: color-mix(in srgb, var(--colour) 24%, transparent); }
@keyframes fade { 0%, 80% { opacity: 1; } 100% { opacity: 0; } }
@media (prefers-reduced-motion: reduce) {
  .frame { transition: none; } .dot, .skeleton i { animation: none !important; }
  .caret .name { animation-timing-function: step-end; }
}
@media (forced-colors: active) { .frame:has(.cm-content:focus-visible) { outline: 2px solid Highlight; } }
`;

export const PRESENCE = `${VARIABLES}
:host { display: inline-block; vertical-align: middle; }
ul { display: flex; flex-direction: row-reverse; justify-content: flex-end; margin: 0; padding: 0 0 0 0.4rem; list-style: none; }
li { position: relative; margin-inline-start: -0.4rem; }
.avatar {
  display: grid; place-items: center; inline-size: 2rem; block-size: 2rem; border-radius: 50%; border: 2px solid var(--buildspaces-background, Canvas);
  background: var(--colour, var(--_quiet)); color: var(--ink, #fff); font: 600 0.75rem/1 var(--_sans); user-select: none;
}
.more .avatar { background: var(--_line); color: var(--_text); }
.away .avatar { filter: grayscale(1); opacity: 0.55; }
.none { font: 400 0.8125rem/1.4 var(--_sans); color: var(--_quiet); }
.hidden { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

export function sheetOf(css: string): CSSStyleSheet {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  return sheet;
}
