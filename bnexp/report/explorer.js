// @ts-check
// The explorer of a page: choose a unit, move through training, see its percentiles side by side.
"use strict";

/**
 * Numbers packed by `explorer.py`: low + (integer + 32767) * step.
 * @typedef {{low: number, step: number, data: string}} Packed
 * @typedef {{layer: number, name: string, start: number, stop: number}} Layer
 * @typedef {{examples: number, floor: number[]}} Noise
 * @typedef {{
 *   name: string, steps: number[], layers: Layer[], typical: number, population: string,
 *   values: Packed, norm?: Packed, noise: Noise | null,
 *   measures: Record<string, (number | null)[]>, accuracy: [number[], (number | null)[]],
 * }} PackedVariant
 * @typedef {{seed: number, percentiles: number[], spread: [number, number, number],
 *   variants: PackedVariant[]}} ExplorerData
 * @typedef {{name: string, steps: number[], layers: Layer[], typical: number, population: string,
 *   values: Float64Array, norm: Float64Array | null, noise: Noise | null, units: number,
 *   measures: Record<string, (number | null)[]>, accuracy: [number[], (number | null)[]],
 *   series: number}} Variant
 * @typedef {{left: string, right: string, layer: number, unit: number, colour: string,
 *   row: number}} State
 */

const MISSING = -32768;
const MARGIN = { left: 38, right: 6, top: 8, bottom: 22 };
const SHARE_OF_DISTRIBUTION = 0.26; // of a panel's width
const PLAY_SECONDS = 15; // for the whole of training
const COLOURS = 8; // --series-0 to --series-7
const TAILS = 0.45; // of the range of the percentiles: room for what lies beyond the outermost
const FEW = 7; // percentiles that are drawn as lines of full strength, and named
const THINNEST = 1 / 400; // of a distribution's length: percentiles that are nearer share a box

/** @param {Packed} packed @returns {Float64Array} */
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const numbers = new Float64Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    const level = view.getInt16(2 * i, true);
    numbers[i] = level === MISSING ? NaN : packed.low + (level + 32767) * packed.step;
  }
  return numbers;
}

/** @param {number | null | undefined} value @returns {string} */
function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const rounded = size < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  const text = size >= 1000 ? Math.round(value).toLocaleString("en") : rounded;
  return text.replaceAll("-", "\u2212"); // a minus sign, as in the figures
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * Round values between two ends, about so many.
 * @param {number} low @param {number} high @param {number} wanted @returns {number[]}
 */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((each) => each >= rough) ?? rough;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9 * step; value += step) {
    found.push(Math.abs(value) < 1e-9 * step ? 0 : value);
  }
  return found;
}

/**
 * The areas of a distribution of which only percentiles are known: between two of them a box with
 * the area that they hold, beyond the outermost a triangle with the area that is left.
 * @param {number[]} percentiles @param {number[]} values
 */
function distribution(percentiles, values) {
  /** @type {{low: number, high: number, height: number}[]} */
  const boxes = [];
  const last = values.length - 1;
  const thinnest = Math.max(THINNEST * (values[last] - values[0]), 1e-9);
  for (let i = 0, from = 0; i < last; i++) {
    const length = values[i + 1] - values[from];
    if (length < thinnest && i + 1 < last) continue;
    const share = (percentiles[i + 1] - percentiles[from]) / 100;
    const height = share / Math.max(length, thinnest);
    boxes.push({ low: values[from], high: values[i + 1], height });
    from = i + 1;
  }
  /** @type {{from: number, to: number, height: number}[]} */
  const tails = [];
  if (boxes.length) {
    const { low, height: lower } = boxes[0];
    const { high, height: upper } = boxes[boxes.length - 1];
    const [below, above] = [percentiles[0] / 100, 1 - percentiles[last] / 100];
    tails.push({ from: low, to: low - (2 * below) / lower, height: lower });
    tails.push({ from: high, to: high + (2 * above) / upper, height: upper });
  }
  return { boxes, tails };
}

class Explorer {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.index = Number(root.dataset.index);
    this.sides = /** @type {HTMLElement} */ (root.querySelector(".sides"));
    /** @type {ExplorerData} */
    const data = JSON.parse(root.querySelector(".explorer-data")?.textContent ?? "{}");
    this.percentiles = data.percentiles;
    this.spread = data.spread;
    /** @type {Map<string, Variant>} */
    this.variants = new Map();
    data.variants.forEach((each, i) => {
      const units = each.layers[each.layers.length - 1].stop;
      const norm = each.norm ? unpack(each.norm) : null;
      const values = unpack(each.values);
      this.variants.set(each.name, { ...each, values, norm, units, series: i % COLOURS });
    });
    this.rows = Math.max(...data.variants.map((each) => each.steps.length));
    /** @type {number | null} */
    this.timer = null;
    /** @type {State} */
    this.state = this.initialState();
    this.build();
    this.readFragment();
    this.update();
    addEventListener("hashchange", () => {
      this.readFragment();
      this.update();
    });
    new ResizeObserver(() => this.draw()).observe(this.sides);
  }

  /** @returns {State} */
  initialState() {
    const [first, second] = [...this.variants.values()];
    const layer = first.layers[first.layers.length - 1].layer;
    return {
      left: first.name,
      right: (second ?? first).name,
      layer,
      unit: first.typical,
      colour: "drift",
      row: this.rows - 1,
    };
  }

  /** @param {string} name */
  variant(name) {
    return this.variants.get(name) ?? [...this.variants.values()][0];
  }

  /** The layer of this number in a variant, or its last. @param {Variant} variant */
  layerOf(variant) {
    const found = variant.layers.find((each) => each.layer === this.state.layer);
    return found ?? variant.layers[variant.layers.length - 1];
  }

  /** @param {string} name @returns {any} */
  control(name) {
    const found = this.root.querySelector(`[name="${name}"]`);
    if (!found) throw new Error(`no control ${name}`);
    return found;
  }

  build() {
    const names = [...this.variants.keys()];
    for (const side of ["left", "right"]) {
      this.control(side).replaceChildren(...names.map((name) => new Option(name, name)));
    }
    const layers = [...this.variants.values()][0].layers;
    this.control("layer").replaceChildren(
      ...layers.map((each) => new Option(each.name, String(each.layer))),
    );
    this.control("row").max = String(this.rows - 1);
    for (const name of ["left", "right", "colour"]) {
      this.control(name).addEventListener("change", () =>
        this.set({ [name]: this.control(name).value }),
      );
    }
    this.control("layer").addEventListener("change", () =>
      this.set({ layer: Number(this.control("layer").value) }),
    );
    this.control("unit").addEventListener("input", () => {
      const text = this.control("unit").value;
      if (text !== "") this.set({ unit: Number(text) });
    });
    this.control("row").addEventListener("input", () => {
      this.pause();
      this.set({ row: Number(this.control("row").value) });
    });
    this.control("play").addEventListener("click", () =>
      this.timer === null ? this.play() : this.pause(),
    );
    const sides = names.length > 1 ? ["left", "right"] : ["left"];
    this.sides.replaceChildren(...sides.map((side) => this.buildSide(side)));
    for (const part of this.root.querySelectorAll("[hidden]")) part.removeAttribute("hidden");
    if (sides.length === 1) {
      for (const side of ["left", "right"]) this.control(side).closest("label").hidden = true;
    }
  }

  /** @param {string} side */
  buildSide(side) {
    const figure = document.createElement("figure");
    figure.className = "side";
    figure.dataset.side = side;
    const heading = document.createElement("h3");
    const panel = svg("svg", { class: "panel", role: "img" });
    const readout = document.createElement("p");
    readout.className = "readout";
    const map = document.createElement("div");
    map.className = "map";
    map.setAttribute("role", "group");
    const scale = document.createElement("p");
    scale.className = "scale";
    figure.append(heading, panel, readout, map, scale);
    const move = (/** @type {PointerEvent} */ event) => {
      if (event.buttons === 0 && event.type !== "pointerdown") return;
      this.pause();
      this.set({ row: this.rowAt(/** @type {SVGElement} */ (panel), event.clientX) });
    };
    panel.addEventListener("pointerdown", /** @type {EventListener} */ (move));
    panel.addEventListener("pointermove", /** @type {EventListener} */ (move));
    map.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest("button");
      if (button) this.set({ unit: Number(button.dataset.unit) });
    });
    map.addEventListener("keydown", (event) => this.walk(map, event));
    return figure;
  }

  /** Arrow keys move between the units of a map. @param {HTMLElement} map @param {KeyboardEvent} event */
  walk(map, event) {
    const across = getComputedStyle(map).gridTemplateColumns.split(" ").length;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (move === undefined) return;
    event.preventDefault();
    const unit = this.state.unit + move;
    if (unit < 0 || unit >= map.children.length) return;
    this.set({ unit });
    /** @type {HTMLElement} */ (map.children[unit]).focus();
  }

  /** @param {SVGElement} panel @param {number} x */
  rowAt(panel, x) {
    const box = panel.getBoundingClientRect();
    const steps = this.longest().steps;
    const width = this.curveWidth(box.width);
    const step = ((x - box.left - MARGIN.left) / width) * steps[steps.length - 1];
    let nearest = 0;
    steps.forEach((each, row) => {
      if (Math.abs(each - step) < Math.abs(steps[nearest] - step)) nearest = row;
    });
    return nearest;
  }

  longest() {
    const all = [...this.variants.values()];
    return all.reduce((best, each) => (each.steps.length > best.steps.length ? each : best));
  }

  /** @param {number} width */
  curveWidth(width) {
    return (width - MARGIN.left - MARGIN.right) * (1 - SHARE_OF_DISTRIBUTION);
  }

  /** @param {Partial<State>} changes */
  set(changes) {
    this.state = { ...this.state, ...changes };
    this.writeFragment();
    this.update();
  }

  play() {
    const began = performance.now();
    const first = this.state.row >= this.rows - 1 ? 0 : this.state.row;
    const frame = (/** @type {number} */ now) => {
      const row = first + Math.floor(((now - began) / 1000 / PLAY_SECONDS) * this.rows);
      this.state.row = Math.min(row, this.rows - 1);
      this.update();
      if (this.state.row >= this.rows - 1) this.pause();
      else this.timer = requestAnimationFrame(frame);
    };
    this.timer = requestAnimationFrame(frame);
    this.update();
  }

  pause() {
    if (this.timer === null) return;
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.writeFragment();
    this.update();
  }

  /** The state is kept in the address, so that a view can be sent; other explorers' keys stay. */
  writeFragment() {
    const all = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of Object.entries(this.state))
      all.set(`${key}${this.index || ""}`, String(value));
    history.replaceState(null, "", `#${all}`);
  }

  readFragment() {
    const all = new URLSearchParams(location.hash.slice(1));
    const text = (/** @type {string} */ key) => all.get(`${key}${this.index || ""}`);
    const state = this.state;
    for (const side of /** @type {("left" | "right")[]} */ (["left", "right"])) {
      const name = text(side);
      if (name !== null && this.variants.has(name)) state[side] = name;
    }
    for (const key of /** @type {("layer" | "unit" | "row")[]} */ (["layer", "unit", "row"])) {
      const value = text(key);
      if (value !== null && /^\d+$/.test(value)) state[key] = Number(value);
    }
    const colour = text("colour");
    if (colour !== null && ["drift", "settle", "width"].includes(colour)) state.colour = colour;
  }

  update() {
    const state = this.state;
    const layer = this.layerOf(this.variant(state.left));
    state.layer = layer.layer;
    state.unit = Math.max(0, Math.min(Math.trunc(state.unit) || 0, layer.stop - layer.start - 1));
    state.row = Math.max(0, Math.min(state.row, this.rows - 1));
    for (const name of ["left", "right", "layer", "colour", "row"])
      this.control(name).value = String(state[/** @type {keyof State} */ (name)]);
    if (document.activeElement !== this.control("unit"))
      this.control("unit").value = String(state.unit);
    this.control("unit").max = String(layer.stop - layer.start - 1);
    const step = this.longest().steps[state.row].toLocaleString("en");
    this.control("step").value = `step ${step}`;
    this.control("row").setAttribute("aria-valuetext", `step ${step}`);
    const playing = this.timer !== null;
    this.control("play").textContent = playing ? "Pause" : "Play";
    this.control("play").setAttribute("aria-pressed", String(playing));
    this.draw();
  }

  draw() {
    const both = [this.variant(this.state.left), this.variant(this.state.right)];
    const range = this.range(both);
    const figures = [...this.sides.children];
    const limits = this.limits(both);
    figures.forEach((figure, i) => {
      const side = /** @type {HTMLElement} */ (figure);
      const variant = both[i];
      side.style.setProperty("--line", `var(--series-${variant.series})`);
      /** @type {HTMLElement} */ (side.querySelector("h3")).textContent = variant.name;
      this.drawPanel(/** @type {SVGElement} */ (side.querySelector(".panel")), variant, range);
      this.drawReadout(/** @type {HTMLElement} */ (side.querySelector(".readout")), variant);
      this.drawMap(side, variant, limits);
    });
  }

  /** The percentiles of the chosen unit at a row. @param {Variant} variant @param {number} row */
  at(variant, row) {
    const q = this.percentiles.length;
    const layer = this.layerOf(variant);
    const unit = layer.start + Math.min(this.state.unit, layer.stop - layer.start - 1);
    const start = (Math.min(row, variant.steps.length - 1) * variant.units + unit) * q;
    return [...variant.values.subarray(start, start + q)];
  }

  /** Gamma and beta at a row, where there is a norm. @param {Variant} variant @param {number} row */
  normAt(variant, row) {
    if (!variant.norm) return null;
    const unit = this.layerOf(variant).start + this.state.unit;
    const start = (Math.min(row, variant.steps.length - 1) * variant.units + unit) * 2;
    const [gamma, beta] = variant.norm.subarray(start, start + 2);
    return gamma === undefined || beta === undefined ? null : { gamma, beta };
  }

  /** The lowest and highest value that both panels show. @param {Variant[]} both @returns {[number, number]} */
  range(both) {
    let low = Infinity;
    let high = -Infinity;
    for (const variant of both) {
      for (let row = 0; row < variant.steps.length; row++) {
        const values = this.at(variant, row).filter(Number.isFinite);
        low = Math.min(low, ...values);
        high = Math.max(high, ...values);
      }
    }
    if (!(low < high))
      return [Number.isFinite(low) ? low - 1 : -1, Number.isFinite(low) ? low + 1 : 1];
    const room = TAILS * (high - low);
    return [low - room, high + room];
  }

  /** @param {SVGElement} panel @param {Variant} variant @param {[number, number]} range */
  drawPanel(panel, variant, [low, high]) {
    const { width, height } = panel.getBoundingClientRect();
    if (width < 40 || height < 40) return;
    panel.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const bottom = height - MARGIN.bottom;
    const right = MARGIN.left + this.curveWidth(width);
    const end = this.longest().steps[this.rows - 1] || 1;
    const x = (/** @type {number} */ step) => MARGIN.left + (step / end) * (right - MARGIN.left);
    const y = (/** @type {number} */ value) =>
      bottom - ((value - low) / (high - low)) * (bottom - MARGIN.top);
    const parts = [];
    for (const tick of ticks(low, high, 5)) {
      parts.push(
        svg("line", {
          class: "axis",
          x1: MARGIN.left,
          x2: width - MARGIN.right,
          y1: y(tick),
          y2: y(tick),
        }),
      );
      parts.push(
        svg("text", { x: MARGIN.left - 5, y: y(tick) + 4, "text-anchor": "end" }, shown(tick)),
      );
    }
    for (const tick of ticks(0, 0.85 * end, 3)) {
      const text = tick >= 1000 ? `${shown(tick / 1000)}k` : shown(tick);
      parts.push(svg("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, text));
    }
    parts.push(svg("text", { x: right, y: height - 6, "text-anchor": "end" }, "step"));
    const beside = (right + 12 + width - MARGIN.right) / 2;
    parts.push(svg("text", { x: beside, y: height - 6, "text-anchor": "middle" }, "distribution"));
    const middle = this.percentiles.reduce(
      (m, q, i) => (Math.abs(q - 50) < Math.abs(this.percentiles[m] - 50) ? i : m),
      0,
    );
    this.percentiles.forEach((_, q) => {
      let path = "";
      variant.steps.forEach((step, row) => {
        const value = this.at(variant, row)[q];
        if (Number.isFinite(value))
          path += `${path ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
      });
      const many = this.percentiles.length > FEW ? "curve faint" : "curve";
      parts.push(svg("path", { class: q === middle ? "curve middle" : many, d: path }));
      if (this.percentiles.length > FEW || !path) return;
      const end = this.at(variant, variant.steps.length - 1)[q];
      const place = { class: "name", x: right, y: y(end) - 6, "text-anchor": "end" };
      parts.push(svg("text", place, `P${this.percentiles[q]}`));
    });
    const row = Math.min(this.state.row, variant.steps.length - 1);
    const here = x(variant.steps[row]);
    parts.push(svg("line", { class: "cursor", x1: here, x2: here, y1: MARGIN.top, y2: bottom }));
    if (variant.noise && this.percentiles.length <= FEW)
      parts.push(...this.noiseBars(variant, here, y));
    const [left, inside] = [right + 12, width - MARGIN.right - right - 12];
    const frame = { x: left, y: MARGIN.top, width: inside, height: bottom - MARGIN.top };
    // An <svg> of its own cuts off what lies beyond the axes.
    const clip = svg("svg", { ...frame, viewBox: Object.values(frame).join(" ") });
    clip.append(...this.drawDistribution(variant, row, left, left + inside, y));
    parts.push(clip);
    panel.replaceChildren(...parts);
    const q = this.percentiles.map((p, i) => `P${p} ${shown(this.at(variant, row)[i])}`).join(", ");
    panel.setAttribute(
      "aria-label",
      `Percentiles of unit ${this.state.unit} of ${variant.name}; at step ${variant.steps[row]}: ${q}`,
    );
  }

  /**
   * How far a minibatch's percentiles scatter although nothing moves: one standard deviation.
   * @param {Variant} variant @param {number} x @param {(value: number) => number} y
   */
  noiseBars(variant, x, y) {
    const values = this.at(variant, this.state.row);
    const [low, high, quantiles] = this.spread;
    const spread = (values[high] - values[low]) / quantiles;
    return values.map((value, i) => {
      const noise = (variant.noise?.floor[i] ?? 0) * spread;
      return svg("line", {
        class: "noise",
        x1: x,
        x2: x,
        y1: y(value - noise),
        y2: y(value + noise),
      });
    });
  }

  /**
   * @param {Variant} variant @param {number} row @param {number} left @param {number} right
   * @param {(value: number) => number} y
   */
  drawDistribution(variant, row, left, right, y) {
    const values = this.at(variant, row);
    if (values.length < 2 || !values.every(Number.isFinite)) return [];
    const { boxes, tails } = distribution(this.percentiles, values);
    const norm = this.normAt(variant, row);
    const peak = norm ? 1 / (Math.abs(norm.gamma) * Math.sqrt(2 * Math.PI)) : 0;
    const most = Math.max(...boxes.map((box) => box.height), Number.isFinite(peak) ? peak : 0);
    const x = (/** @type {number} */ height) => left + (height / most) * (right - left);
    const parts = boxes.map((box) => {
      const top = y(box.high);
      return svg("rect", {
        class: "box",
        x: left,
        y: top,
        width: x(box.height) - left,
        height: Math.max(y(box.low) - top, 0.5),
      });
    });
    for (const tail of tails) {
      const d = `M${left} ${y(tail.from)}L${x(tail.height)} ${y(tail.from)}L${left} ${y(tail.to)}Z`;
      parts.push(svg("path", { class: "tail", d }));
    }
    if (norm && Number.isFinite(peak)) {
      let d = "";
      for (let z = -3; z <= 3.001; z += 0.2) {
        const height = peak * Math.exp((-z * z) / 2);
        d += `${d ? "L" : "M"}${x(height).toFixed(1)} ${y(norm.beta + z * norm.gamma).toFixed(1)}`;
      }
      parts.push(svg("path", { class: "gaussian", d }));
    }
    return parts;
  }

  /** @param {HTMLElement} readout @param {Variant} variant */
  drawReadout(readout, variant) {
    const row = Math.min(this.state.row, variant.steps.length - 1);
    const step = variant.steps[row];
    const values = this.at(variant, row);
    const parts = [`Step ${step.toLocaleString("en")}`];
    if (values.length <= FEW)
      parts.push(this.percentiles.map((p, i) => `P${p} ${shown(values[i])}`).join(", "));
    else parts.push(`from ${shown(values[0])} to ${shown(values[values.length - 1])}`);
    const norm = this.normAt(variant, row);
    if (norm) parts.push(`gamma ${shown(norm.gamma)}, beta ${shown(norm.beta)}`);
    const [steps, accuracies] = variant.accuracy;
    let last = null;
    steps.forEach((each, i) => {
      if (each <= step) last = accuracies[i];
    });
    if (last !== null) parts.push(`test accuracy ${Number(last).toFixed(4)}`);
    parts.push(`over ${variant.population}`);
    if (variant.noise && values.length <= FEW)
      parts.push(`bars: noise of a minibatch of ${variant.noise.examples}, one standard deviation`);
    readout.textContent = parts.join("; ");
  }

  /** The measures of the chosen layer's units. @param {Variant} variant */
  measured(variant) {
    const layer = this.layerOf(variant);
    return variant.measures[this.state.colour].slice(layer.start, layer.stop);
  }

  /** The lowest and highest measure of both maps. @param {Variant[]} both @returns {[number, number]} */
  limits(both) {
    const known = both.flatMap((each) => this.measured(each)).filter((each) => each !== null);
    const numbers = /** @type {number[]} */ (known);
    return numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
  }

  /** @param {HTMLElement} side @param {Variant} variant @param {[number, number]} limits */
  drawMap(side, variant, [low, high]) {
    const map = /** @type {HTMLElement} */ (side.querySelector(".map"));
    const measures = this.measured(variant);
    const what = this.control("colour").selectedOptions[0].textContent;
    map.setAttribute("aria-label", `Units of ${variant.name}, coloured by ${what}`);
    while (map.children.length > measures.length) map.lastChild?.remove();
    while (map.children.length < measures.length) {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.unit = String(map.children.length);
      map.append(button);
    }
    measures.forEach((measure, unit) => {
      const button = /** @type {HTMLElement} */ (map.children[unit]);
      const chosen = unit === this.state.unit;
      const share = measure === null ? 0 : 6 + (94 * (measure - low)) / (high - low || 1);
      button.className = measure === null ? "unknown" : "";
      button.style.setProperty("--share", share.toFixed(1));
      button.setAttribute("aria-pressed", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      button.title = `unit ${unit}: ${shown(measure)}`;
      button.setAttribute("aria-label", `unit ${unit}, ${what} ${shown(measure)}`);
    });
    const ramp = document.createElement("span");
    ramp.className = "ramp";
    const scale = /** @type {HTMLElement} */ (side.querySelector(".scale"));
    scale.replaceChildren(`${what}: ${shown(low)}`, ramp, shown(high));
  }
}

for (const root of document.querySelectorAll(".explorer"))
  new Explorer(/** @type {HTMLElement} */ (root));
