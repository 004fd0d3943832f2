// Curves as lists of numbers: anchors spread evenly over the layers, straight lines between them.

// "0,5" is one number, as in app/recipe/numbers.py.
export function parse(text) {
  const points = text.replace(/(?<![^\s;])([-+]?\d+),(\d+)(?!,?[^\s,;])/g, "$1.$2");
  const values = points.split(/[,;\s]+/).filter(Boolean).map(Number);
  return values.length && values.every(Number.isFinite) ? values : null;
}

export const words = (value) => String(Number(value.toPrecision(6)));

export function text(values) {
  return (new Set(values).size > 1 ? values : values.slice(0, 1)).map(words).join(", ");
}

export const snap = (value, step) => Number((Math.round(value / step) * step).toPrecision(9));

// Where anchor `index` of `count` stands: 0 the first layer, 1 the last.
export const place = (index, count) => (count > 1 ? index / (count - 1) : 0.5);

// The value at `t`, of all anchors or without the one numbered `left`.
export function valueAt(values, t, left = -1) {
  const points = values.map((value, index) => [place(index, values.length), value]).filter((_, index) => index !== left);
  const after = points.findIndex(([x]) => x >= t);
  if (after < 1) return points.at(after)[1];
  const [[x0, y0], [x1, y1]] = points.slice(after - 1);
  return y0 + ((y1 - y0) * (t - x0)) / (x1 - x0);
}

// The same shape with another number of anchors, which are again spread evenly.
export function resample(values, count, step, left) {
  return Array.from({ length: count }, (_, index) => snap(valueAt(values, place(index, count), left), step / 10));
}

export function marks(low, high) {
  const rough = (high - low) / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((nice) => nice * size).find((nice) => nice >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-6);
  return Array.from({ length: Math.floor(high / step + 1e-6) - first + 1 }, (_, index) => (first + index) * step);
}

// Between a low and a high value, from the first layer to the last.
export const SHAPES = {
  flat: (low, high) => [(low + high) / 2],
  up: (low, high) => [low, high],
  down: (low, high) => [high, low],
  hill: (low, high) => [low, high, low],
  first: (low, high) => [high, high, high, low, low, low],
  second: (low, high) => [low, low, low, high, high, high],
};
