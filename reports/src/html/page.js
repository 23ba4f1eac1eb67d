"use strict";
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const make = (name, attributes, parent) => {
    const element = document.createElementNS(NS, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    return parent.appendChild(element);
  };
  const html = (name, text, parent) => {
    const element = document.createElement(name);
    element.textContent = text;
    return parent.appendChild(element);
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Numbers as the rest of the page writes them.
  const digits = (value, most) => {
    const text = value.toFixed(most).replace(/\.?0+$/, most ? "" : "$&");
    const [whole, part] = text.split(".");
    return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? "." + part : "");
  };
  const three = value => {
    const size = Math.abs(value);
    return digits(value, size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2);
  };
  const two = value => String(value).padStart(2, "0");
  const time = seconds => {
    if (seconds < 1e-3) return seconds === 0 ? "0 s" : three(seconds * 1e6) + " µs";
    if (seconds < 1) return three(seconds * 1e3) + " ms";
    if (seconds < 60) return three(seconds) + " s";
    const whole = Math.round(seconds);
    if (whole < 3600) return Math.floor(whole / 60) + " m " + two(whole % 60) + " s";
    if (whole < 86400) return Math.floor(whole / 3600) + " h " + two(Math.floor(whole % 3600 / 60)) + " m";
    return Math.floor(whole / 86400) + " d " + two(Math.floor(whole % 86400 / 3600)) + " h";
  };
  const units = {
    share: value => digits(value * 100, value > 0 && value < 0.001 ? 4 : 2) + " %",
    us: value => time(value / 1e6),
    time: time,
    count: three,
  };

  // From a value to its place on an axis between 0 and 1, and back.
  const nines = share => -Math.log10(1 - share);
  const scales = {
    linear: [value => value, place => place],
    time: [value => value, place => place],
    log: [value => Math.log(Math.max(value, 1e-12)), place => Math.exp(place)],
    tail: [value => nines(Math.min(value, 1 - 1e-9)), place => 1 - 10 ** -place],
  };

  const charts = [...document.querySelectorAll("figure[data-chart]")].map(figure => {
    const data = JSON.parse(figure.dataset.chart);
    const [kind, from, to] = data.x;
    const [forth, back] = scales[kind];
    const whole = [forth(from), forth(to)];
    return {
      figure, data, forth, back, whole, domain: whole, kind,
      shared: !!data.shared, hidden: new Set(), at: null,
      drawings: [...figure.querySelectorAll("svg.chart")].map(svg => {
        const plot = svg.querySelector("svg.plot");
        const box = plot.getAttribute("viewBox").split(" ").map(Number);
        return {svg, plot, box, ticks: svg.querySelector("[data-ticks]")};
      }),
    };
  });
  const companions = chart => chart.shared ? charts.filter(other => other.shared) : [chart];

  // The value of a layer at a place: what is drawn there.
  const read = (layer, x) => {
    const points = layer.p;
    const count = points.length / 2;
    if (!count) return null;
    if (layer.s === "rule") return points[1];
    if (layer.s === "point") {
      let best = 0;
      for (let at = 1; at < count; at++)
        if (Math.abs(points[2 * at] - x) < Math.abs(points[2 * best] - x)) best = at;
      return points[2 * best + 1];
    }
    if (x < points[0] || (x > points[2 * count - 2] && layer.s !== "step")) return null;
    let low = 0, high = count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (points[2 * middle] <= x) low = middle; else high = middle - 1;
    }
    const here = points[2 * low + 1];
    if (layer.s === "step" || low + 1 >= count) return here;
    const width = points[2 * low + 2] - points[2 * low];
    return here + (points[2 * low + 3] - here) * (width > 0 ? (x - points[2 * low]) / width : 0);
  };
  const where = (chart, x) => {
    if (chart.data.names) return chart.data.names[clamp(Math.round(x), 0, chart.data.names.length - 1)];
    if (chart.kind === "tail") return "at " + digits(x * 100, 3) + " %";
    return "at " + (chart.kind === "time" ? time(x) : three(x));
  };

  const place = (chart, drawing, x) => {
    const [from, to] = chart.domain;
    const [left, , width] = drawing.box;
    return left + (chart.forth(x) - from) / (to - from || 1) * width;
  };
  const point = (chart, x) => {
    chart.at = x;
    for (const drawing of chart.drawings) {
      const at = place(chart, drawing, x);
      const [left, top, width, height] = drawing.box;
      drawing.cursor ??= make("line", {class: "cursor", y1: top, y2: top + height}, drawing.svg);
      const inside = at >= left - 0.5 && at <= left + width + 0.5;
      drawing.cursor.setAttribute("visibility", inside ? "visible" : "hidden");
      drawing.cursor.setAttribute("x1", at);
      drawing.cursor.setAttribute("x2", at);
    }
    const values = chart.data.layers.flatMap((layer, index) => {
      const value = chart.hidden.has(index) ? null : read(layer, x);
      return value === null ? [] : layer.n + " " + units[chart.data.y](value);
    });
    chart.reading.textContent = where(chart, x) + ": " + (values.join(", ") || "nothing");
    chart.reading.classList.add("on");
  };
  const forget = chart => {
    chart.at = null;
    for (const drawing of chart.drawings) drawing.cursor?.setAttribute("visibility", "hidden");
    chart.reading.textContent = chart.hint;
    chart.reading.classList.remove("on");
  };

  // Round moments for a zoomed axis.
  const steps = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800];
  const moments = (from, to, most) => {
    const least = (to - from) / Math.max(most, 1);
    const step = steps.find(step => step >= least) ?? 10 ** Math.ceil(Math.log10(least));
    const fine = least < 0.5 ? [1, 2, 5, 10].map(digit => digit * 10 ** Math.floor(Math.log10(least))).find(step => step >= least) : step;
    const list = [];
    for (let at = Math.ceil(from / fine) * fine; at <= to * (1 + 1e-9) && list.length < 30; at += fine) list.push(at);
    return list;
  };
  const redraw = chart => {
    const [from, to] = chart.domain;
    const [low, high] = chart.whole;
    const zoomed = from > low || to < high;
    for (const drawing of chart.drawings) {
      const [left, top, width, height] = drawing.box;
      const scale = width / (high - low || 1);
      drawing.plot.setAttribute("viewBox", [left + (from - low) * scale, top, Math.max((to - from) * scale, 1e-3), height].join(" "));
      for (const element of drawing.svg.querySelectorAll("[data-at]")) {
        const at = place(chart, drawing, Number(element.dataset.at));
        element.setAttribute("visibility", at >= left - 1 && at <= left + width + 1 ? "visible" : "hidden");
        if (element.tagName === "text") {
          element.dataset.home ??= element.getAttribute("x");
          element.setAttribute("x", zoomed ? at : element.dataset.home);
        } else {
          element.setAttribute("transform", zoomed ? `translate(${at - Number(element.dataset.x)} 0)` : "");
        }
      }
      if (drawing.ticks) {
        drawing.own ??= [...drawing.ticks.childNodes];
        if (!zoomed) { drawing.ticks.replaceChildren(...drawing.own); continue; }
        drawing.ticks.replaceChildren();
        const bottom = top + height - 2;
        for (const at of moments(from, to, width / 90)) {
          const x = place(chart, drawing, at);
          make("line", {x1: x, x2: x, y1: bottom, y2: bottom + 4}, drawing.ticks);
          make("text", {x: clamp(x, left + 8, left + width - 20), y: bottom + 17}, drawing.ticks).textContent = at ? time(at) : "0";
        }
      }
    }
    chart.reset.hidden = !zoomed;
    if (chart.at !== null) point(chart, chart.at);
  };
  const zoom = (chart, from, to) => {
    for (const other of companions(chart)) {
      const [low, high] = other.whole;
      const least = (high - low) / 500;
      let start = clamp(Math.min(from, to), low, high - least);
      let end = clamp(Math.max(from, to), start + least, high);
      // A chart that shows another part of the time stays as it is.
      if (Math.max(from, to) <= low || Math.min(from, to) >= high) [start, end] = other.whole;
      other.domain = [start, end];
      redraw(other);
    }
  };

  const show = (chart, x) => companions(chart).forEach(other => {
    const at = other.forth(x);
    if (at >= other.domain[0] && at <= other.domain[1]) point(other, x); else forget(other);
  });
  const hide = chart => companions(chart).forEach(forget);

  for (const [index, chart] of charts.entries()) {
    const zoomable = chart.shared;
    // Once is enough, at the first chart that is large.
    chart.hint = index !== Math.min(1, charts.length - 1) ? "" : "Point at the chart, or focus it and use ← and →, for exact values" + (zoomable ? "; drag or + and − to zoom." : ".");
    const tools = html("p", "", chart.figure);
    tools.className = "tools";
    chart.figure.insertBefore(tools, chart.figure.querySelector("svg.chart"));
    chart.reading = html("output", chart.hint, tools);
    chart.reset = html("button", "Reset zoom", tools);
    chart.reset.type = "button";
    chart.reset.hidden = true;
    chart.reset.addEventListener("click", () => zoom(chart, ...chart.whole));

    for (const item of chart.figure.querySelectorAll(".legend li[data-layer]")) {
      const index = Number(item.dataset.layer);
      const button = document.createElement("button");
      button.type = "button";
      button.append(...item.childNodes);
      button.setAttribute("aria-pressed", "true");
      item.append(button);
      button.addEventListener("click", () => {
        const off = !chart.hidden.delete(index);
        if (off) chart.hidden.add(index);
        button.setAttribute("aria-pressed", String(!off));
        for (const group of chart.figure.querySelectorAll(`svg.chart [data-layer="${index}"]`))
          group.setAttribute("visibility", off ? "hidden" : "visible");
        if (chart.at !== null) point(chart, chart.at);
      });
    }

    for (const drawing of chart.drawings) {
      const {svg, box} = drawing;
      const [left, top, width, height] = box;
      svg.tabIndex = 0;
      const value = event => {
        const inverse = svg.getScreenCTM().inverse();
        const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse).x;
        const [from, to] = chart.domain;
        return from + clamp((x - left) / width, 0, 1) * (to - from);
      };
      let start = null, shade = null;
      const done = () => { start = null; shade?.remove(); shade = null; };
      svg.addEventListener("pointermove", event => {
        const at = value(event);
        show(chart, chart.back(at));
        if (start === null) return;
        shade ??= make("rect", {class: "selection", y: top, height}, svg);
        const [one, other] = [start, at].map(at => place(chart, drawing, chart.back(at))).sort((a, b) => a - b);
        shade.setAttribute("x", one);
        shade.setAttribute("width", other - one);
      });
      svg.addEventListener("pointerleave", () => { if (start === null) hide(chart); });
      if (zoomable) {
        svg.addEventListener("pointerdown", event => {
          if (event.button !== 0 || event.pointerType === "touch") return;
          start = value(event);
          svg.setPointerCapture(event.pointerId);
        });
        svg.addEventListener("pointerup", event => {
          if (start === null) return;
          const [from, end] = [start, value(event)];
          done();
          if (Math.abs(end - from) > (chart.domain[1] - chart.domain[0]) / 50) zoom(chart, from, end);
        });
        svg.addEventListener("pointercancel", done);
        svg.addEventListener("dblclick", () => zoom(chart, ...chart.whole));
      }
      svg.addEventListener("keydown", event => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const [from, to] = chart.domain;
        const span = to - from;
        const at = chart.at === null ? from + span / 2 : chart.forth(chart.at);
        const step = (chart.data.names ? 1 : span / 100) * (event.shiftKey ? 10 : 1);
        const move = to => show(chart, chart.back(clamp(to, ...chart.domain)));
        const keys = {
          ArrowLeft: () => move(at - step), ArrowRight: () => move(at + step), Home: () => move(from), End: () => move(to),
          Escape: () => { hide(chart); if (zoomable) zoom(chart, ...chart.whole); },
        };
        if (zoomable) {
          keys["+"] = keys["="] = () => zoom(chart, at - span / 4, at + span / 4);
          keys["-"] = () => zoom(chart, Math.max(at - span, chart.whole[0]), Math.min(at + span, chart.whole[1]));
          keys["0"] = () => zoom(chart, ...chart.whole);
        }
        if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
      });
      svg.addEventListener("blur", () => hide(chart));
    }
  }
})();
