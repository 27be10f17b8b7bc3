// Requests a second and percentiles, from what the hub has measured; how they are read. Pure.

/**
 * What `share` of the runs took at the most, in seconds; null if there were none.
 *
 * `buckets` are `[bound, how many took no longer]`, cumulative, the last bound null for infinity.
 * Within a bucket runs count as evenly spread; beyond the last bound nothing is known but the bound.
 */
export function quantile(buckets, share) {
  const count = buckets.at(-1)?.[1] ?? 0;
  if (count <= 0) return null;
  const rank = share * count;
  let [lower, below] = [0, 0];
  for (const [bound, upTo] of buckets) {
    if (bound === null) return lower;
    if (upTo >= rank) return lower + ((bound - lower) * (rank - below)) / (upTo - below || 1);
    [lower, below] = [bound, upTo];
  }
  return lower;
}

/**
 * The figures of one step that the hub has measured: `{rate, failures, p95, inFlight}`.
 *
 * `step` is `[ended, failed, in flight, how many took how long]`, the last by `bounds`, not summed
 * up; `seconds` is how long the step was.
 */
export function measured([ended, failed, inFlight, counts], bounds, seconds) {
  let upTo = 0;
  const buckets = counts.map((count, index) => [bounds[index], (upTo += count)]);
  const p95 = quantile(buckets, 0.95);
  return { rate: ended / seconds, failures: failed / seconds, p95, inFlight };
}

/** A rate as it is read. */
export function perSecond(rate) {
  return rate.toFixed(rate >= 100 || Number.isInteger(rate) ? 0 : 1);
}

/** How long ago, or for how long, as it is read. */
export function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.max(0, Math.floor(seconds))} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** So many things. */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** A duration in seconds as it is read; null is a dash. */
export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const milliseconds = seconds * 1000;
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}
