// Requests a second and percentiles, from the differences of what `GET /mesh` counts. Pure.

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

// What members are asked about themselves is counted here, this page's own pings among it.
const OTHER = "(other)";

/** What one poll counted, by capability: how many ended, how many of them badly, how long. */
function counted(poll, namespace) {
  const found = new Map();
  for (const { capability, ended, seconds } of poll.namespaces?.[namespace]?.capabilities ?? []) {
    if (capability === OTHER) continue;
    const all = Object.values(ended).reduce((sum, each) => sum + each, 0);
    found.set(capability, { ended: all, failed: all - (ended.ok ?? 0), buckets: seconds.buckets });
  }
  return found;
}

const NOTHING = { ended: 0, failed: 0, buckets: [] };

/** `after` without `before`; a hub that began again counts from nothing. */
function grown(before, after) {
  if (after.ended < before.ended) before = NOTHING;
  const earlier = new Map(before.buckets);
  return {
    ended: after.ended - before.ended,
    failed: after.failed - before.failed,
    buckets: after.buckets.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]),
  };
}

/** Several of the same bounds as one. */
function together(several) {
  const buckets = new Map();
  let [ended, failed] = [0, 0];
  for (const each of several) {
    ended += each.ended;
    failed += each.failed;
    for (const [bound, count] of each.buckets) {
      buckets.set(bound, (buckets.get(bound) ?? 0) + count);
    }
  }
  return { ended, failed, buckets: [...buckets] };
}

function figures({ ended, failed, buckets }, seconds) {
  return { rate: ended / seconds, failures: failed / seconds, p95: quantile(buckets, 0.95) };
}

/**
 * What happened between two polls: `{rate, failures, p95, capabilities}`, the first two a second,
 * p95 in seconds or null, and the same by capability.
 *
 * A poll is `{at, counts}`, with `at` in seconds and `counts` as `GET /mesh` answered.
 */
export function between(before, after, namespace) {
  const seconds = Math.max(after.at - before.at, 0.001);
  const earlier = counted(before.counts, namespace);
  const changes = new Map();
  for (const [capability, counts] of counted(after.counts, namespace)) {
    changes.set(capability, grown(earlier.get(capability) ?? NOTHING, counts));
  }
  const capabilities = new Map();
  for (const [capability, change] of changes)
    capabilities.set(capability, figures(change, seconds));
  return { ...figures(together(changes.values()), seconds), capabilities };
}

/** A rate as it is read. */
export function perSecond(rate) {
  return rate.toFixed(rate >= 100 || Number.isInteger(rate) ? 0 : 1);
}

/** A duration in seconds as it is read; null is a dash. */
export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const milliseconds = seconds * 1000;
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}
