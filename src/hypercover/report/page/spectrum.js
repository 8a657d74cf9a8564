/* Spectra as plain SVG: lines that break where bands are missing, shades of one deviation. */

const PLOT = { left: 56, right: 24, top: 26, bottom: 42 };

/* Round steps of 1, 2 or 5 that cut a range into about so many parts. */
function ticks(low, high, about) {
  const raw = (high - low) / about || 1;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((one) => one * size >= raw * 0.999) * size;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) found.push(at * step);
  return found;
}

function label(value) {
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  return Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 6 });
}

/* Draw series of values over `across`; returns an SVG that says in words what it shows. */
function plotSpectra({ across, breaks, along, up, series, words, width = 600, height = 300 }) {
  const all = series.flatMap(({ values, spread }) => [...values].flatMap((value, at) => (spread ? [value - spread[at], value + spread[at]] : [value])));
  const known = all.filter(Number.isFinite);
  const [low, high] = [Math.min(...extremes(known)), Math.max(...extremes(known))];
  const edge = (high - low || Math.abs(high) || 1) * 0.04;
  const range = { x: [Math.min(...across), Math.max(...across)], y: [low - edge, high + edge] };
  const place = {
    x: (value) => PLOT.left + ((value - range.x[0]) / (range.x[1] - range.x[0] || 1)) * (width - PLOT.left - PLOT.right),
    y: (value) => height - PLOT.bottom - ((value - range.y[0]) / (range.y[1] - range.y[0])) * (height - PLOT.top - PLOT.bottom),
    right: width - PLOT.right,
    bottom: height - PLOT.bottom,
  };
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "spectrum", role: "img", "aria-label": words });
  picture.append(axes(range, place, along, up));
  const runs = runsOf(across.length, new Set(breaks));
  for (const one of series) picture.append(shadeAndLine(one, across, runs, place));
  return picture;
}

/* A spread argument list of many thousands would not fit the stack. */
function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return Number.isFinite(low) ? [low, high] : [0, 1];
}

function runsOf(length, breaks) {
  const runs = [];
  for (let at = 0; at < length; at += 1) {
    if (!at || breaks.has(at)) runs.push([]);
    runs[runs.length - 1].push(at);
  }
  return runs;
}

function axes(range, place, along, up) {
  const group = drawn("g", { class: "axes", "aria-hidden": "true" });
  const { bottom, right } = place;
  const text = (x, y, words, anchor) => drawn("text", { x, y, "text-anchor": anchor }, words);
  for (const value of ticks(...range.y, 5)) {
    group.append(drawn("line", { x1: PLOT.left, x2: right, y1: place.y(value), y2: place.y(value) }));
    group.append(text(PLOT.left - 7, place.y(value) + 4, label(value), "end"));
  }
  for (const value of ticks(...range.x, right / 75)) {
    group.append(drawn("line", { x1: place.x(value), x2: place.x(value), y1: bottom, y2: bottom + 5 }));
    group.append(text(place.x(value), bottom + 19, label(value), "middle"));
  }
  group.append(text((PLOT.left + right) / 2, bottom + 37, along, "middle"));
  group.append(text(4, 13, up, "start"));
  return group;
}

function shadeAndLine({ values, spread, color, kind, code }, across, runs, place) {
  const group = drawn("g", { class: `series ${kind}` });
  if (code !== undefined) group.dataset.code = code;
  const point = (at, value) => `${place.x(across[at]).toFixed(1)} ${place.y(value).toFixed(1)}`;
  const line = (run) => `M${run.map((at) => point(at, values[at])).join("L")}${run.length === 1 ? "h.01" : ""}`;
  if (spread) {
    const shade = runs.map((run) => {
      const upper = run.map((at) => point(at, values[at] + spread[at]));
      const lower = [...run].reverse().map((at) => point(at, values[at] - spread[at]));
      return `M${[...upper, ...lower].join("L")}Z`;
    });
    group.append(drawn("path", { class: "shade", d: shade.join(""), fill: color }));
  }
  const path = runs.map(line).join("");
  group.append(drawn("path", { class: "casing", d: path }));
  group.append(drawn("path", color ? { class: "line", d: path, stroke: color } : { class: "line", d: path }));
  return group;
}
