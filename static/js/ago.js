// Words for a moment in the past: "3 minutes ago".
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30]];

export function ago(date, now = Date.now()) {
  let amount = Math.round((date.getTime() - now) / 1000);
  if (Math.abs(amount) < 10) return "just now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return RELATIVE.format(amount, unit);
    amount = Math.round(amount / size);
  }
  return "on " + date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
