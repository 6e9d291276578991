/** Times of day for answers that Ruby reads. The core has no clock and no calendar but this. */

const two = (of: number) => String(of).padStart(2, "0");

/** A Time in UTC as Psych writes and reads it: `2026-01-02 03:04:05.123456789 Z`. `wallMs` may have a fraction. */
export function rubyTime(wallMs: number): string {
  const micros = Math.floor(wallMs * 1000);
  const seconds = Math.floor(micros / 1e6);
  const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  const fraction = String(micros - seconds * 1e6).padStart(6, "0");
  return `${calendarDay(Math.floor(seconds / 86_400))} ${time}.${fraction}000 Z`;
}

/** YYYY-MM-DD of so many days after 1970-01-01, in years that begin with March (Hinnant, "chrono-compatible date algorithms"). */
function calendarDay(days: number): string {
  const sinceMarch0 = days + 719_468;
  const era = Math.floor(sinceMarch0 / 146_097);
  const ofEra = sinceMarch0 - era * 146_097;
  const year = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const month = Math.floor((5 * ofYear + 2) / 153);
  const day = ofYear - Math.floor((153 * month + 2) / 5) + 1;
  const january = month < 10 ? 0 : 1;
  return `${era * 400 + year + january}-${two(month + 3 - 12 * january)}-${two(day)}`;
}
