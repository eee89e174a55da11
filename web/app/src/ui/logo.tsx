/** The mark: two blocks that share a corner. */
export function Logo(props: { size: number }) {
  return (
    <svg width={props.size} height={props.size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#4f5bd5" />
      <path d="M9 9h8v8H9z" fill="#fff" />
      <path d="M15 15h8v8h-8z" fill="#fff" fillOpacity=".55" />
    </svg>
  );
}
