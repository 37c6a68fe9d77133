/* The playground's page: controls, bars and the chart of two gaps. It computes nothing itself;
 * the numbers come from smoothing.js. Everything is an ordinary form control, so the keyboard works
 * as it does anywhere; results are announced in a live region. The state can be given in the
 * address: #epsilon=0.2&target=1&logits=2,1,0,-1,0.5
 */
(function () {
  "use strict";
  const S = window.smoothing;
  const RANGE = 8; // of a logit's slider
  const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";

  function element(tag, attributes = {}, children = []) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function fixed(value, digits = 4) {
    if (!Number.isFinite(value)) return "∞";
    return value.toFixed(digits).replace("-", "−");
  }

  function slider(label, id, min, max, step, value, changed, spoken = label) {
    const output = element("output", { for: id, id: `${id}-value` });
    const input = element("input", { type: "range", id, min, max, step, value, "aria-label": spoken });
    const box = element("div", { class: "pg-slider" }, [
      element("label", { for: id, text: label }),
      input,
      output,
    ]);
    input.addEventListener("input", () => changed(Number(input.value)));
    return { box, input, output };
  }

  function choice(label, id, options, value, changed) {
    const select = element(
      "select",
      { id },
      options.map(([each, text]) => element("option", { value: each, text })),
    );
    select.value = String(value);
    select.addEventListener("change", () => changed(Number(select.value)));
    return { box: element("div", { class: "pg-choice" }, [element("label", { for: id, text: label }), select]), select };
  }

  /* ---- one example: bars ------------------------------------------------------------------ */

  function buildBars(host, state, tell) {
    const numbers = {};
    const facts = element("dl", { class: "pg-facts" });
    for (const [name, label] of [
      ["loss", "loss"],
      ["floor", "floor H(q′)"],
      ["excess", "above the floor"],
      ["prob", "p at the label"],
      ["gap", "gap"],
      ["rest", "resting gap"],
    ]) {
      numbers[name] = element("dd", { id: `pg-${name}` });
      facts.append(element("div", {}, [element("dt", { text: label }), numbers[name]]));
    }

    const epsilon = slider("ε, smoothing", "pg-epsilon", 0, 1, 0.01, state.epsilon, (value) => {
      state.epsilon = value;
      tell();
    });
    const classes = choice("classes K", "pg-classes", [[2, "2"], [3, "3"], [5, "5"], [10, "10"]], state.logits.length, (value) => {
      state.logits = Array.from({ length: value }, (_, k) => state.logits[k] ?? 0);
      state.target = Math.min(state.target, value - 1);
      rows();
      tell();
    });
    const reset = element("button", { type: "button", id: "pg-zero", text: "All logits 0", onclick: () => {
      state.logits = state.logits.map(() => 0);
      tell();
    } });
    const settle = element("button", { type: "button", id: "pg-settle", text: "Go to the resting place", onclick: () => {
      // Only differences count; centred, the logits stay on their sliders where they can.
      const rest = S.restingGap(state.logits.length, state.epsilon);
      const gap = Number.isFinite(rest) ? rest : 2 * RANGE;
      const mean = gap / state.logits.length;
      state.logits = state.logits.map((_, k) => (k === state.target ? gap : 0) - mean);
      tell();
    } });
    const table = element("div", { class: "pg-rows", role: "group", "aria-label": "classes" });
    host.append(
      element("div", { class: "pg-controls" }, [epsilon.box, classes.box, reset, settle]),
      facts,
      element("div", { class: "pg-head", "aria-hidden": "true" }, [
        element("span", { text: "label" }),
        element("span", { text: "logit z" }),
        element("span", {}, [
          element("i", { class: "pg-key pg-p" }), " output p ",
          element("i", { class: "pg-key pg-q" }), " target q′",
        ]),
        element("span", { text: "gradient p − q′, from −1 to 1" }),
      ]),
      table,
    );

    let views = [];
    function rows() {
      table.replaceChildren();
      views = state.logits.map((_, k) => {
        const radio = element("input", { type: "radio", name: "pg-target", id: `pg-target-${k}`, value: k, "aria-label": `the label is class ${k}` });
        radio.addEventListener("change", () => {
          state.target = k;
          tell();
        });
        const logit = slider(`z${SUBSCRIPTS[k]}`, `pg-logit-${k}`, -RANGE, RANGE, 0.1, 0, (value) => {
          state.logits[k] = value;
          tell();
        }, `logit of class ${k}`);
        const p = element("div", { class: "pg-fill pg-p" });
        const q = element("div", { class: "pg-mark pg-q" });
        const g = element("div", { class: "pg-fill pg-g" });
        const pText = element("span", { class: "pg-number", id: `pg-p-${k}` });
        const qText = element("span", { class: "pg-number pg-second", id: `pg-q-${k}` });
        const gText = element("span", { class: "pg-number", id: `pg-g-${k}` });
        table.append(
          element("div", { class: "pg-row" }, [
            radio,
            logit.box,
            element("div", { class: "pg-cell" }, [element("div", { class: "pg-bar" }, [p, q]), pText, qText]),
            element("div", { class: "pg-cell" }, [element("div", { class: "pg-bar pg-signed" }, [g]), gText]),
          ]),
        );
        return { radio, logit, p, q, g, pText, qText, gText };
      });
    }
    rows();

    return function draw() {
      const { logits, target, epsilon: amount } = state;
      const probs = S.softmax(logits);
      const targets = S.smoothedTargets(target, logits.length, amount);
      const grad = S.gradient(logits, target, amount);
      const value = S.loss(logits, target, amount);
      const floor = S.lossFloor(logits.length, amount);
      epsilon.input.value = String(amount);
      epsilon.output.textContent = amount.toFixed(2);
      classes.select.value = String(logits.length);
      numbers.loss.textContent = fixed(value);
      numbers.floor.textContent = fixed(floor);
      numbers.excess.textContent = fixed(value - floor);
      numbers.prob.textContent = fixed(probs[target]);
      numbers.gap.textContent = fixed(S.meanGap(logits, target));
      numbers.rest.textContent = fixed(S.restingGap(logits.length, amount));
      views.forEach((view, k) => {
        view.radio.checked = k === target;
        view.logit.input.value = String(logits[k]);
        view.logit.output.textContent = fixed(logits[k], 1);
        view.p.style.width = `${100 * probs[k]}%`;
        view.q.style.left = `${100 * targets[k]}%`;
        const length = Math.abs(grad[k]) * 50;
        view.g.style.width = `${length}%`;
        view.g.style.left = grad[k] < 0 ? `${50 - length}%` : "50%";
        view.pText.textContent = fixed(probs[k]);
        view.qText.textContent = fixed(targets[k]);
        view.gText.textContent = fixed(grad[k]);
      });
    };
  }

  /* ---- many steps: the chart -------------------------------------------------------------- */

  const CURVES = [
    { name: "one-hot", key: "hard" },
    { name: "smoothed", key: "soft" },
  ];

  function buildRace(host, state) {
    const race = {};
    let speed = 10;
    let rate = 0.1;
    let logScale = false;
    let playing = null;

    const buttons = element("div", { class: "pg-buttons", role: "group", "aria-label": "training" });
    const button = (id, text, act) => {
      const node = element("button", { type: "button", id, text, onclick: act });
      buttons.append(node);
      return node;
    };
    const play = button("pg-play", "Train", () => (playing ? pause() : start()));
    button("pg-more", "1,000 steps at once", () => {
      pause();
      advance(1000);
      draw();
      report();
    });
    const flip = button("pg-flip", "Flip the label", () => {
      flipLabel();
      draw();
      start();
    });
    button("pg-again", "Start again", () => {
      pause();
      begin();
      draw();
      say("Started again from equal logits.");
    });
    const rateSlider = slider("learning rate η", "pg-rate", 0.1, 2, 0.1, rate, (value) => {
      rate = value;
      begin();
      draw();
    });
    const speedChoice = choice("steps a frame", "pg-speed", [[1, "1"], [10, "10"], [100, "100"]], speed, (value) => {
      speed = value;
    });
    const scaleChoice = choice("steps axis", "pg-scale", [[0, "even"], [1, "logarithmic"]], 0, (value) => {
      logScale = value === 1;
      draw();
    });
    const chart = element("canvas", { class: "pg-chart", role: "img", "aria-label": "gap against steps", id: "pg-chart" });
    const legend = element("p", { class: "pg-legend" }, [
      element("i", { class: "pg-line pg-hard" }), " one-hot ",
      element("i", { class: "pg-line pg-soft" }), " smoothed ",
      element("i", { class: "pg-line pg-limit" }), " resting gap",
    ]);
    const table = element("table", { class: "pg-table" });
    const cells = {};
    const headings = ["", "gap", "loss", "its floor", "steps trained", "steps to unlearn"];
    table.append(element("thead", {}, [element("tr", {}, headings.map((text) => element("th", { text, scope: "col" })))]));
    const body = element("tbody");
    for (const { name, key } of CURVES) {
      cells[key] = {};
      const row = element("tr", {}, [element("th", { scope: "row", text: name, class: `pg-${key}` })]);
      for (const each of ["gap", "loss", "floor", "trained", "unlearned"]) {
        cells[key][each] = element("td", { id: `pg-${key}-${each}` });
        row.append(cells[key][each]);
      }
      body.append(row);
    }
    table.append(body);
    const live = element("p", { class: "pg-live", role: "status", "aria-live": "polite", id: "pg-status" });
    host.append(
      element("div", { class: "pg-controls" }, [rateSlider.box, speedChoice.box, scaleChoice.box]),
      buttons,
      legend,
      chart,
      live,
      element("div", { class: "pg-scroll" }, [table]),
    );

    function say(words) {
      live.textContent = words;
    }

    function begin() {
      const numClasses = state.logits.length;
      race.epsilon = { hard: 0, soft: state.epsilon };
      race.numClasses = numClasses;
      race.first = 0; // the label before the flip
      race.second = 1; // and after it
      race.target = 0;
      race.steps = 0;
      race.flippedAt = null;
      race.turned = { hard: null, soft: null };
      race.logits = { hard: new Array(numClasses).fill(0), soft: new Array(numClasses).fill(0) };
      race.points = { hard: [[0, 0]], soft: [[0, 0]] };
      flip.disabled = true;
    }

    function gap(key) {
      return race.logits[key][race.first] - race.logits[key][race.second];
    }

    function advance(steps) {
      for (let i = 0; i < steps && !finished(); i += 1) {
        race.steps += 1;
        for (const { key } of CURVES) {
          race.logits[key] = S.descend(race.logits[key], race.target, race.epsilon[key], rate, 1);
          if (race.flippedAt !== null && race.turned[key] === null && S.leads(race.logits[key], race.target)) {
            race.turned[key] = race.steps - race.flippedAt;
          }
          race.points[key].push([race.steps, gap(key)]);
        }
      }
      if (race.points.hard.length > 4000) thin();
      flip.disabled = race.flippedAt !== null || race.steps === 0;
    }

    // A chart has a few hundred columns: of a long run, keep points evenly in log(step).
    function thin() {
      for (const { key } of CURVES) {
        let last = -1;
        const end = race.flippedAt ?? race.steps;
        race.points[key] = race.points[key].filter(([step]) => {
          const place = Math.round(600 * (step / race.steps)) * 10000 + Math.round(600 * Math.log1p(step) / Math.log1p(race.steps));
          const keep = step >= end - 1 || place !== last;
          last = place;
          return keep;
        });
      }
    }

    function finished() {
      return race.flippedAt !== null && CURVES.every(({ key }) => race.turned[key] !== null) && race.steps - race.flippedAt >= race.wait;
    }

    function flipLabel() {
      race.flippedAt = race.steps;
      race.target = race.second;
      // Go on a little after the slower one has turned, so that the crossing is seen.
      race.wait = 0;
      const longest = CURVES.map(({ key }) =>
        S.stepsToLearn(race.logits[key], race.second, race.epsilon[key], rate, 100000));
      race.wait = Math.ceil(1.25 * Math.max(...longest));
      flip.disabled = true;
    }

    function start() {
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (race.flippedAt !== null && finished()) begin();
      if (still) {
        advance(race.flippedAt === null ? 1000 : race.wait);
        draw();
        report();
        return;
      }
      play.textContent = "Pause";
      if (playing === null) playing = requestAnimationFrame(frame);
    }

    function frame() {
      advance(race.flippedAt === null ? speed : Math.min(speed, Math.max(1, Math.round(race.wait / 90))));
      draw();
      if (finished()) {
        pause();
        report();
      } else playing = requestAnimationFrame(frame);
    }

    function pause() {
      if (playing !== null) cancelAnimationFrame(playing);
      playing = null;
      play.textContent = "Train";
    }

    function report() {
      if (race.flippedAt === null) {
        say(`After ${race.steps.toLocaleString("en")} steps the one-hot gap is ${fixed(gap("hard"), 3)}, the smoothed one ${fixed(gap("soft"), 3)}.`);
      } else if (race.turned.hard !== null && race.turned.soft !== null) {
        say(`Trained for ${race.flippedAt.toLocaleString("en")} steps, then told otherwise: the one-hot logits changed their mind after ${race.turned.hard} steps, the smoothed ones after ${race.turned.soft}.`);
      }
    }

    function draw() {
      rateSlider.output.textContent = rate.toFixed(1);
      for (const { key } of CURVES) {
        const c = cells[key];
        c.gap.textContent = fixed(gap(key), 3);
        c.loss.textContent = fixed(S.loss(race.logits[key], race.target, race.epsilon[key]));
        c.floor.textContent = fixed(S.lossFloor(race.numClasses, race.epsilon[key]));
        c.trained.textContent = (race.flippedAt ?? race.steps).toLocaleString("en");
        c.unlearned.textContent = race.turned[key] === null ? "–" : String(race.turned[key]);
      }
      paint();
    }

    function paint() {
      const width = chart.clientWidth || 640;
      const height = Math.round(Math.max(220, Math.min(340, width * 0.5)));
      const ratio = window.devicePixelRatio || 1;
      chart.width = Math.round(width * ratio);
      chart.height = Math.round(height * ratio);
      chart.style.height = `${height}px`;
      const pen = chart.getContext("2d");
      pen.scale(ratio, ratio);
      const style = getComputedStyle(host);
      const ink = style.color;
      const colour = (name) => style.getPropertyValue(name).trim();
      const rest = S.restingGap(race.numClasses, race.epsilon.soft);
      const values = [...race.points.hard, ...race.points.soft].map((point) => point[1]);
      const high = Math.max(1, Number.isFinite(rest) ? rest : 0, ...values) * 1.12;
      const low = Math.min(0, ...values) * 1.2;
      const flipped = race.flippedAt !== null;
      // While training, all of it; after the flip, the way back, with its steps counted from there.
      const first = flipped ? Math.max(0, race.flippedAt - Math.ceil(race.wait / 4)) : 0;
      const last = flipped ? race.flippedAt + race.wait : Math.max(10, race.steps);
      const origin = flipped ? race.flippedAt : 0;
      const logarithmic = logScale && !flipped;
      const [left, right, top, bottom] = [44, 24, 18, 38];
      const place = (step) =>
        logarithmic ? Math.log10(1 + step) / Math.log10(1 + last) : (step - first) / (last - first);
      const x = (step) => left + (width - left - right) * place(step);
      const y = (value) => height - bottom - (height - top - bottom) * ((value - low) / (high - low));

      pen.font = "12px system-ui, sans-serif";
      pen.lineWidth = 1;
      pen.strokeStyle = colour("--pg-grid");
      pen.fillStyle = ink;
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      const stride = [0.5, 1, 2, 5, 10].find((each) => (high - low) / each <= 7) ?? 20;
      for (let value = Math.ceil(low / stride) * stride; value <= high; value += stride) {
        line(pen, left, y(value), width - right, y(value));
        pen.fillText(String(Number(value.toFixed(1))).replace("-", "−"), left - 6, y(value));
      }
      pen.textAlign = "center";
      pen.textBaseline = "top";
      for (const count of ticks(first - origin, last - origin, logarithmic, width)) {
        line(pen, x(count + origin), top, x(count + origin), height - bottom);
        pen.fillText((count || 0).toLocaleString("en").replace("-", "−"), x(count + origin), height - bottom + 5);
      }
      pen.textAlign = "right";
      pen.fillText(flipped ? "steps since the label was flipped" : "steps", width - right, height - 15);
      pen.textAlign = "left";
      pen.fillText("gap in nats", 4, 0);

      if (Number.isFinite(rest)) {
        pen.strokeStyle = colour("--limit");
        pen.setLineDash([6, 5]);
        pen.lineWidth = 1.6;
        line(pen, left, y(rest), width - right, y(rest));
        pen.setLineDash([]);
      }
      pen.strokeStyle = ink;
      pen.lineWidth = 1;
      if (low < 0) line(pen, left, y(0), width - right, y(0));
      if (flipped) line(pen, x(origin), top, x(origin), height - bottom);
      pen.save();
      pen.beginPath();
      pen.rect(left, 0, width - left - right, height - bottom);
      pen.clip();
      pen.lineWidth = 2.4;
      for (const { key } of CURVES) {
        pen.strokeStyle = colour(key === "hard" ? "--one-hot" : "--smoothed");
        pen.beginPath();
        race.points[key].forEach(([step, value], i) => (i ? pen.lineTo(x(step), y(value)) : pen.moveTo(x(step), y(value))));
        pen.stroke();
      }
      pen.restore();
      chart.setAttribute(
        "aria-label",
        `Gap against steps. After ${race.steps} steps: one-hot ${fixed(gap("hard"), 3)}, smoothed ${fixed(gap("soft"), 3)}, resting gap ${fixed(rest, 3)}.`,
      );
    }

    function line(pen, x1, y1, x2, y2) {
      pen.beginPath();
      pen.moveTo(x1, y1);
      pen.lineTo(x2, y2);
      pen.stroke();
    }

    function ticks(from, to, logarithmic, width) {
      const steps = [];
      if (logarithmic) {
        for (let step = 1; step <= to; step *= 10) steps.push(step);
        return steps;
      }
      const wanted = width < 420 ? 4 : 7;
      const unit = 10 ** Math.floor(Math.log10((to - from) / wanted));
      const stride = [1, 2, 5, 10].map((each) => each * unit).find((each) => (to - from) / each <= wanted);
      for (let step = Math.ceil(from / stride) * stride; step <= to; step += stride) steps.push(step);
      return steps;
    }

    window.addEventListener("resize", paint);
    // The theme button of the page changes an attribute of the body.
    new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    begin();
    return {
      draw,
      changed() {
        if (state.logits.length !== race.numClasses || state.epsilon !== race.epsilon.soft) {
          pause();
          begin();
        }
        draw();
      },
    };
  }

  /* ---- start ------------------------------------------------------------------------------ */

  function fromAddress(state) {
    const given = new URLSearchParams(window.location.hash.slice(1));
    const logits = (given.get("logits") ?? "").split(",").filter((each) => each !== "").map(Number);
    if ([2, 3, 5, 10].includes(logits.length) && logits.every(Number.isFinite)) state.logits = logits;
    const epsilon = Number(given.get("epsilon") ?? NaN);
    if (epsilon >= 0 && epsilon <= 1) state.epsilon = epsilon;
    const target = Number(given.get("target") ?? NaN);
    if (Number.isInteger(target) && target >= 0 && target < state.logits.length) state.target = target;
  }

  function main() {
    const bars = document.getElementById("playground-bars");
    const race = document.getElementById("playground-race");
    if (!bars || !race) return;
    const state = { logits: [2, 1, 0, -1, 0.5, 0, 0, 0, 0, 0], target: 0, epsilon: 0.1 };
    fromAddress(state);
    bars.replaceChildren();
    race.replaceChildren();
    let drawBars = () => {};
    let chart = null;
    const tell = () => {
      drawBars();
      if (chart) chart.changed();
    };
    drawBars = buildBars(bars, state, tell);
    chart = buildRace(race, state);
    tell();
    window.addEventListener("hashchange", () => window.location.reload());
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", main);
  else main();
})();
