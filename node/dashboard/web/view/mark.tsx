/** The sign of the house: a ringed tail. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" fill="none" stroke-width="6" aria-hidden="true">
      <circle class="mark-ground" cx="16" cy="16" r="11" />
      <circle class="mark-rings" cx="16" cy="16" r="11" stroke-dasharray="8.64 8.64" />
    </svg>
  );
}
