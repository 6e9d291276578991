/** A Time in UTC as Ruby's Psych writes and reads it: `2026-01-02 03:04:05.123000000 Z`. */
export function rubyTime(wallMs: number): string {
  // Of a given moment Date is arithmetic: it reads no clock.
  const [day, time] = new Date(wallMs).toISOString().slice(0, -1).split("T");
  return `${day} ${time}000000 Z`;
}
