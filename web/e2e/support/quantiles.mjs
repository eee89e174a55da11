/** What samples come to, for scripts that measure. */

const quantile = (values, q) => {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  return Math.round(value * 10) / 10;
};

export const summary = (values) => ({
  samples: values.length,
  p50: quantile(values, 0.5),
  p95: quantile(values, 0.95),
  max: quantile(values, 1),
});
