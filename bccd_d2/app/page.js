// The threshold, the counts and the measurements, in the browser; see overlay.py for the markup.
(() => {
  const SCORE = 0, BORDER = 1, AREA = 2, DIAMETER = 3, TYPE = 9, PROBABILITY = 10;
  let threshold = 0, pixelSize = null, current = null, latest = null;
  let byKeys = false, pointer = "";  // was the current cell chosen by keys; where the pointer is

  const result = () => document.querySelector(".bccd-result");

  function cellsOf(root) {
    // Gradio may put the next result into the same element.
    const text = root.dataset.cells;
    if (root.bccdText !== text) Object.assign(root, { bccdText: text, bccdCells: JSON.parse(text) });
    return root.bccdCells;
  }

  const short = (n) => (n < 100 ? n.toFixed(1) : n.toFixed(0));

  function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  function cardTexts(shown, width, height) {
    const whole = shown.filter((cell) => !cell[BORDER]);
    const pixels = width * height;
    const area = shown.reduce((sum, cell) => sum + cell[AREA], 0);
    const diameter = whole.length ? median(whole.map((cell) => cell[DIAMETER])) : null;
    const size = pixelSize;
    return {
      cells: [String(shown.length), `cover ${(100 * area / pixels).toFixed(0)}% of the image`],
      interior: [String(whole.length), `${shown.length - whole.length} more at the border`],
      density: size
        ? [short(shown.length / (pixels * (size / 1000) ** 2)), "per mm²"]
        : [short(shown.length / (pixels / 1e6)), "per megapixel"],
      diameter: diameter === null ? ["–", "no whole cell"]
        : size ? [(diameter * size).toFixed(2), "µm"] : [diameter.toFixed(0), "px"],
    };
  }

  // What was typed, with a point or a comma; null for nothing, NaN for what is no number.
  function number(typed) {
    const written = String(typed ?? "").trim();
    return written === "" ? null : Number(written.replace(",", "."));
  }

  const mark = (id, kind, on) => document.querySelector(id)?.classList.toggle(kind, on);

  function diameter(typed) {
    const size = number(typed);
    mark("#bccd-diameter", "wrong", size !== null && !(size >= 5 && size <= 2000));
  }

  function apply(newThreshold, newPixelSize) {
    latest = [newThreshold, newPixelSize];
    const root = result();
    const typed = number(newPixelSize), right = Number.isFinite(typed) && typed > 0;
    mark("#bccd-pixel", "wrong", typed !== null && !right);
    pixelSize = right ? typed : Number(root?.dataset.pixel) || null;  // what the file says
    threshold = Math.fround(newThreshold);  // scores are 32-bit numbers
    if (root?.dataset.frozen) threshold = 0;  // a person corrected them: all count
    if (!root) return;
    root.dataset.ready = "yes";
    leave();
    const cells = cellsOf(root), hidden = hiddenTypes(root, cells);
    const seen = (cell) => cell[SCORE] >= threshold && !hidden.has(cell[TYPE]);
    for (const path of root.querySelectorAll(".bccd-cell")) {
      path.classList.toggle("off", !seen(cells[path.dataset.cell - 1]));
    }
    const shown = cells.filter(seen);
    const whole = shown.filter((cell) => !cell[BORDER]).map((cell) => cell[DIAMETER] * pixelSize);
    const width = pixelSize && whole.length ? median(whole) : null;
    mark("#bccd-pixel", "odd", width !== null && !(width >= 4 && width <= 12));
    const texts = cardTexts(shown, Number(root.dataset.width), Number(root.dataset.height));
    for (const [key, [number, unit]] of Object.entries(texts)) {
      const card = root.querySelector(`[data-card="${key}"]`);
      card.querySelector(".number").textContent = number;
      card.querySelector(".unit").textContent = unit;
    }
  }

  // The types whose boxes are not ticked; each box says how many cells it stands for.
  function hiddenTypes(root, cells) {
    const hidden = new Set();
    for (const box of root.querySelectorAll("[data-type]")) {
      const type = Number(box.dataset.type);
      if (!box.checked) hidden.add(type);
      box.parentElement.querySelector("b").textContent =
        cells.filter((cell) => cell[SCORE] >= threshold && cell[TYPE] === type).length;
    }
    return hidden;
  }

  document.addEventListener("change", (event) => {
    if (event.target.closest?.(".bccd-types") && latest) apply(...latest);
  });

  // A result drawn while the settings were moved on takes the later ones.
  new MutationObserver(() => {
    const root = result();
    if (root && !root.dataset.ready) apply(...(latest ?? [Number(root.dataset.threshold), ""]));
  }).observe(document.documentElement,
    { childList: true, subtree: true, attributeFilter: ["data-cells", "data-ready"] });

  // Name and probability; of an unsure cell the probability of its best type.
  function typeOf(root, cell) {
    if (cell[TYPE] === undefined) return [];
    const name = cell[TYPE] < 0 ? "unsure" : JSON.parse(root.dataset.types)[cell[TYPE]];
    const p = cell[PROBABILITY];
    return [["type", p === null ? name : `${name}, ${p.toFixed(2)}`]];
  }

  function measurements(cell) {
    const [score, border, area, diameter, perimeter, circularity, eccentricity, solidity,
      intensity] = cell;
    const size = pixelSize, digits = (value, n) => (value === null ? "–" : value.toFixed(n));
    const length = (value) => value === null ? "–"
      : size ? `${digits(value * size, 2)} µm` : `${digits(value, 1)} px`;
    return [
      ["score", digits(score, 2)],
      ["area", size ? `${digits(area * size * size, 2)} µm²` : `${area} px²`],
      ["diameter", length(diameter)],
      ["perimeter", length(perimeter)],
      ["circularity", digits(circularity, 2)],
      ["eccentricity", digits(eccentricity, 2)],
      ["solidity", digits(solidity, 2)],
      ["intensity", digits(intensity, 0)],
      ["at the border", border ? "yes" : "no"],
    ];
  }

  function show(path) {
    const root = path.closest(".bccd-result"), tip = root.querySelector(".bccd-tip");
    if (current !== path) {
      leave();
      current = path;
      path.classList.add("on");
      const cell = cellsOf(root)[path.dataset.cell - 1];
      const rows = [...typeOf(root, cell), ...measurements(cell)];
      const table = document.createElement("dl");
      for (const [name, value] of rows) {
        table.append(Object.assign(document.createElement("dt"), { textContent: name }),
          Object.assign(document.createElement("dd"), { textContent: value }));
      }
      const head = Object.assign(document.createElement("strong"),
        { textContent: `Cell ${path.dataset.cell}` });
      tip.replaceChildren(head, table);
      tip.hidden = false;
    }
    const frame = root.querySelector(".bccd-figure").getBoundingClientRect();
    const box = path.getBoundingClientRect();
    const right = box.right - frame.left + 10, room = frame.width - tip.offsetWidth - 4;
    const left = right <= room ? right : box.left - frame.left - tip.offsetWidth - 10;
    const top = (box.top + box.bottom) / 2 - frame.top - tip.offsetHeight / 2;
    tip.style.left = `${Math.max(4, Math.min(left, room))}px`;
    tip.style.top = `${Math.max(4, Math.min(top, frame.height - tip.offsetHeight - 4))}px`;
  }

  function leave() {
    if (!current) return;
    current.classList.remove("on");
    const tip = current.closest(".bccd-result")?.querySelector(".bccd-tip");
    if (tip) tip.hidden = true;
    current = null;
  }

  function step(svg, by) {
    const paths = [...svg.querySelectorAll(".bccd-cell:not(.off)")];
    if (!paths.length) return;
    byKeys = true;
    const place = paths.indexOf(current);
    show(paths[place < 0 ? (by > 0 ? 0 : paths.length - 1)
      : (place + by + paths.length) % paths.length]);
  }

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

  const placeOf = (event) => `${event.screenX} ${event.screenY}`;

  document.addEventListener("pointermove", (event) => { pointer = placeOf(event); });
  document.addEventListener("pointerover", (event) => {
    // A page that scrolls under a resting pointer takes nothing from the keys.
    if (byKeys && placeOf(event) === pointer) return;
    byKeys = false;
    const path = event.target.closest?.(".bccd-cell");
    if (path) show(path);
    else leave();
  });
  document.addEventListener("keydown", (event) => {
    const svg = event.target.closest?.(".bccd-figure svg");
    if (!svg) return;
    if (event.key in STEPS) {
      event.preventDefault();
      step(svg, STEPS[event.key]);
    } else if (event.key === "Escape") leave();
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.closest?.(".bccd-figure svg")) leave();
  });

  function download(text) {
    if (!text) return;
    const { name, type, base64 } = JSON.parse(text);
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type }));
    const link = Object.assign(document.createElement("a"), { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  window.bccd = { apply, diameter, download };
})();
