"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const nonce = document.currentScript ? document.currentScript.nonce : document.querySelector("script[nonce]").nonce;
  const shown = data.runs.map(() => true);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let axis = "step", logarithmic = false;

  // -- tables: sorted by the cell's value -----------------------------------------------------------------------------
  const valueOf = (row, at) => {
    const cell = row.cells[at], text = cell.dataset.value ?? cell.textContent.trim(), number = Number(text.replaceAll(",", ""));
    if (cell.classList.contains("num") && cell.dataset.value === undefined && Number.isNaN(number)) return [2, 0, ""];
    return text !== "" && !Number.isNaN(number) ? [0, number, ""] : [1, 0, text];
  };
  const compareValues = (a, b) => a[0] - b[0] || a[1] - b[1] || a[2].localeCompare(b[2], undefined, { numeric: true });
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, at), row]);
        rows.sort(([a], [b]) => (a[0] === 2 || b[0] === 2 ? a[0] - b[0] : (down ? -1 : 1) * compareValues(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // -- what is packed into the page -----------------------------------------------------------------------------------
  const unpacked = async (id) => {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  };
  const [buffer, library] = await Promise.all([unpacked("arrays"), unpacked("plotly")]);
  const script = document.createElement("script");
  script.nonce = nonce;
  script.textContent = new TextDecoder().decode(library);
  document.head.append(script);
  const kinds = { f4: Float32Array, f8: Float64Array, i4: Int32Array };
  const array = ([offset, length, kind]) => new kinds[kind](buffer, offset, length);

  // -- how plots look -------------------------------------------------------------------------------------------------
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (at) => style(`--c${at}`);
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"); // Plotly knows tags
  const short = (text, most = 40) => (text.length <= most ? text : text.slice(0, most - 1) + "…");
  const faint = () => (dark.matches ? ["rgba(255,255,255,0.05)", "rgba(125,183,255,0.13)"] : ["rgba(20,30,50,0.035)", "rgba(11,98,196,0.09)"]);
  const layout = (title, more = {}) => {
    const text = style("--quiet"), line = style("--line");
    const ends = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, tickfont: { size: 11 } };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
      font: { color: text, family: getComputedStyle(document.body).fontFamily, size: 12 },
      margin: { l: 46, r: 12, t: 8, b: 36 }, dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: { bgcolor: style("--card"), bordercolor: line, font: { color: style("--text") }, align: "left" },
      ...more,
      xaxis: { ...ends, showgrid: false, title: { text: plain(title), font: { size: 11.5 }, standoff: 6 }, ...more.xaxis },
      yaxis: { ...ends, ...more.yaxis },
    };
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset" };

  // -- every point is kept; of those that share a pixel the first, lowest, highest and last are drawn -----------------
  const thinned = (x, y, from, to, pixels) => {
    let begin = 0, end = x.length;
    while (begin + 1 < end && x[begin + 1] < from) begin++;
    while (end - 1 > begin && x[end - 2] > to) end--;
    const keep = [];
    if (end - begin <= 4 * pixels) for (let at = begin; at < end; at++) keep.push(at);
    else {
      const low = x[begin], scale = pixels / (x[end - 1] - low || 1);
      for (let at = begin; at < end;) {
        const bucket = Math.floor((x[at] - low) * scale);
        let first = at, least = at, most = at, last = at;
        for (; at < end && Math.floor((x[at] - low) * scale) === bucket; at++) {
          last = at;
          if (!(y[at] >= y[least])) least = at;
          if (!(y[at] <= y[most])) most = at;
        }
        keep.push(...new Set([first, least, most, last].sort((a, b) => a - b)));
      }
    }
    return [keep.map((at) => x[at]), keep.map((at) => y[at])];
  };

  // -- plots: drawn when they come into view --------------------------------------------------------------------------
  const plots = new Map();
  const axisTitle = { step: "step", epoch: "epochs trained", minute: "minutes" };

  const phaseShapes = (at) => {
    const runs = data.runs.filter((run, number) => shown[number] && run.phases.length > 1);
    const key = (run) => JSON.stringify(run.phases.map((phase) => Math.round(10 * (phase[at] ?? 0))));
    if (!runs.length || new Set(runs.map(key)).size > 1 || runs[0].phases.some((phase) => phase[at] === null)) return [];
    const begins = runs[0].phases.map((phase) => phase[at]);
    return begins.map((x0, number) => ({
      type: "rect", layer: "below", line: { width: 0 }, yref: "paper", y0: 0, y1: 1, x0, x1: begins[number + 1] ?? 1e12,
      fillcolor: faint()[number % 2],
    }));
  };
  const notePhases = () => {
    const note = document.getElementById("phases-note");
    if (!note) return;
    const phased = data.runs.filter((run, number) => shown[number] && run.phases.length > 1);
    note.hidden = !phased.length;
    if (!phased.length) return;
    note.textContent = phaseShapes(axis).length
      ? "Shaded: " + phased[0].phases.map((phase) => `${phase.name} (from step ${phase.step.toLocaleString("en")})`).join("; ") + "."
      : "The phases of these runs begin at different moments: show one run alone to see its phases shaded.";
  };

  const drawLines = (panel, element, kind) => {
    const along = kind === "machine" ? "minute" : axis;
    const usable = panel.lines.filter((line) => shown[line.run] && line[along]);
    const series = usable.map((line) => ({ line, x: array(line[along]), y: array(line.y) }));
    let low = Infinity, high = -Infinity;
    for (const { x } of series) if (x.length) { low = Math.min(low, x[0]); high = Math.max(high, x[x.length - 1]); }
    if (!(low < high)) { high = low + 1; low -= 1; }
    const pixels = Math.max(80, Math.round(element.clientWidth / (series.length > 8 ? 3 : 1.5)));
    const traces = (from, to) => series.map(({ line, x, y }) => {
      const run = data.runs[line.run], [xs, ys] = thinned(x, y, from, to, pixels);
      return {
        type: "scatter", mode: xs.length <= 40 ? "lines+markers" : "lines", x: xs, y: ys, connectgaps: false, marker: { size: 4 },
        line: { color: colour(run.colour), dash: run.dash, width: series.length > 8 ? 1.1 : 1.7 }, opacity: series.length > 8 ? 0.8 : 1, name: plain(run.name),
        hovertemplate: `${plain(short(run.name))}<br>${axisTitle[along]} %{x:.6~g}<br><b>%{y:.5~g}</b><extra></extra>`,
      };
    });
    const marks = panel.name !== data.metric ? [] : series.flatMap(({ line, x }) => {
      const run = data.runs[line.run];
      if (!run.best) return [];
      const at = array(line.step).findLastIndex((step) => step <= run.best.step);
      return at >= 0 ? [{ type: "scatter", mode: "markers", x: [x[at]], y: [run.best.value], hoverinfo: "skip", cliponaxis: false,
        marker: { size: 9, color: colour(run.colour), line: { color: style("--page"), width: 2 } } }] : [];
    });
    const shapes = kind === "curves" ? phaseShapes(along) : [];
    const range = [low, high + (high - low) * 0.02];
    const scale = logarithmic && kind === "curves" ? "log" : "linear";
    Plotly.react(element, [...traces(low, high), ...marks], layout(axisTitle[along], {
      shapes, xaxis: { range }, yaxis: { type: scale, exponentformat: scale === "log" ? "power" : "SI" }, uirevision: along,
    }), config);
    element.removeAllListeners?.("plotly_relayout");
    element.on("plotly_relayout", (event) => {
      if (!("xaxis.range[0]" in event || "xaxis.autorange" in event || "xaxis.range" in event)) return;
      const [from, to] = "xaxis.autorange" in event ? range : element.layout.xaxis.range;
      const again = traces(from, to);
      Plotly.restyle(element, { x: again.map((t) => t.x), y: again.map((t) => t.y), mode: again.map((t) => t.mode) }, again.map((_, at) => at));
    });
  };
  const drawRates = (element) => {
    const run = Number(document.getElementById("rates-run")?.value ?? 0);
    const lines = data.rates.flatMap((rate) => rate.lines.filter((line) => line.run === run).map((line) => [rate.name, line]));
    const traces = lines.map(([name, line], at) => {
      const [x, y] = thinned(array(line.step), array(line.y), -Infinity, Infinity, 800);
      const told = plain(short(name.replace(/^lr[/-]/, "")));
      return { type: "scatter", mode: "lines", x, y: y.map((value) => (value > 0 ? value : null)), name: told, line: { shape: "hv", width: 1.8,
        color: colour(at % 8), dash: ["solid", "dash", "dot", "dashdot"][Math.floor(at / 8) % 4] },
        hovertemplate: `${told}<br>step %{x}<br><b>%{y:.3~g}</b><extra></extra>` };
    });
    const legend = { showlegend: traces.length > 1, legend: { font: { size: 11 }, orientation: "h", y: -0.22, x: 0 } };
    Plotly.react(element, traces, layout("step", { ...legend, yaxis: { type: "log", exponentformat: "power" } }), config);
  };
  const drawPrice = (price, element) => {
    const here = price.runs.map((run, at) => at).filter((at) => shown[price.runs[at]]);
    const of = (at) => data.runs[price.runs[at]];
    const front = { type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: style("--quiet"), width: 1.2, dash: "dot", shape: "hv" },
      x: price.front.map((at) => price.x[at]), y: price.front.map((at) => price.y[at]) };
    const points = { type: "scatter", mode: "markers", x: here.map((at) => price.x[at]), y: here.map((at) => price.y[at]),
      text: here.map((at) => plain(short(of(at).name))), hovertemplate: `%{text}<br>${price.unit} %{x:.4~s}<br><b>%{y:.5~g}</b><extra></extra>`,
      marker: { size: 11, color: here.map((at) => colour(of(at).colour)), line: { color: style("--page"), width: 1.5 },
        symbol: here.map((at) => ({ solid: "circle", dash: "square", dot: "diamond", dashdot: "triangle-up" })[of(at).dash]) } };
    Plotly.react(element, [front, points], layout(price.unit, {}), config);
  };
  const drawConfusion = (matrix, element) => {
    const shares = matrix.cells.map((line) => { const sum = line.reduce((a, b) => a + b, 0) || 1; return line.map((cell) => cell / sum); });
    const names = matrix.classes.map((name, at) => `${at} ${plain(short(name, 24))}`);
    Plotly.react(element, [{ type: "heatmap", z: shares, text: matrix.cells, x: names, y: names, zmin: 0, zmax: 1, showscale: false,
      colorscale: [[0, style("--card")], [1, style("--heat")]], hovertemplate: "true %{y}<br>said %{x}<br><b>%{text}</b> (%{z:.1%})<extra></extra>" }],
    layout("said", { yaxis: { autorange: "reversed", tickfont: { size: 9 } }, xaxis: { tickfont: { size: 9 } } }), config);
  };

  for (const panel of data.curves) plots.set(panel.id, (element) => drawLines(panel, element, "curves"));
  for (const panel of data.machine) plots.set(panel.id, (element) => drawLines(panel, element, "machine"));
  data.prices.forEach((price, at) => plots.set(`prices-${at}`, (element) => drawPrice(price, element)));
  for (const matrix of data.confusions) plots.set(`confusion-${matrix.run}`, (element) => drawConfusion(matrix, element));
  if (data.rates.length) plots.set("rates", drawRates);

  const near = new Set(), stale = new Set(plots.keys()), waiting = new Set();
  const drawNext = () => { // one at a time: the first is seen while the others are still being drawn
    const [id] = waiting;
    waiting.delete(id);
    if (near.has(id) && stale.delete(id)) {
      const element = document.getElementById(id);
      plots.get(id)(element);
      element.dataset.drawn = "true";
    }
    if (waiting.size) setTimeout(drawNext);
  };
  const draw = (id) => {
    if (!near.has(id) || !stale.has(id)) return;
    if (!waiting.size) setTimeout(drawNext);
    waiting.add(id);
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) near.add(target.id); else near.delete(target.id);
      draw(target.id);
    }
  }, { rootMargin: "250px" });
  for (const id of plots.keys()) watcher.observe(document.getElementById(id));
  const drawAgain = (id) => {
    stale.add(id);
    delete document.getElementById(id).dataset.drawn;
    draw(id);
  };
  const redraw = () => {
    notePhases();
    for (const id of plots.keys()) drawAgain(id);
  };

  // -- what can be chosen ---------------------------------------------------------------------------------------------
  const showRuns = () => {
    for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", String(shown[Number(chip.dataset.run)]));
    for (const part of document.querySelectorAll("[data-of-run]")) part.hidden = !shown[Number(part.dataset.ofRun)];
    redraw();
  };
  for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => {
    const run = Number(chip.dataset.run);
    shown[run] = !shown[run];
    showRuns();
  });
  document.getElementById("show-all")?.addEventListener("click", () => { shown.fill(true); showRuns(); });
  document.getElementById("show-none")?.addEventListener("click", () => { shown.fill(false); showRuns(); });
  for (const choice of document.querySelectorAll("[name=axis]")) {
    choice.disabled = !data.curves.some((panel) => panel.lines.some((line) => line[choice.value]));
    choice.addEventListener("change", () => { axis = choice.value; redraw(); });
  }
  document.getElementById("log")?.addEventListener("change", (event) => { logarithmic = event.target.checked; redraw(); });
  document.getElementById("rates-run")?.addEventListener("change", () => drawAgain("rates"));
  dark.addEventListener("change", redraw);
  notePhases();
  document.documentElement.dataset.ready = "true";
})();
