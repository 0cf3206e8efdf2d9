// SPDX-License-Identifier: MIT
#pragma once

// The live page's script, second part: charts as SVG paths, whose colours follow the style.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_charts = R"js(
const $ = id => document.getElementById(id);
const HUES = ['--a', '--b', '--c', '--d', '--e', '--f', '--g'];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function svg(name, attributes = {}) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
function canvas(className) {
  return svg('svg', {class: className, viewBox: '0 0 300 100', preserveAspectRatio: 'none',
    'aria-hidden': 'true'});
}
function set_text(node, text) { if (node.textContent !== text) node.textContent = text; }

// A line through those points that have a value. `x` and `y` make coordinates.
function line(points, x, y) {
  let d = '', draws = false;
  for (const point of points) {
    const value = y(point);
    if (value === null || !isFinite(value)) { draws = false; continue; }
    d += `${draws ? 'L' : 'M'}${x(point).toFixed(1)} ${value.toFixed(1)}`;
    draws = true;
  }
  return d;
}

// The past of one value of a backend, three minutes; the newest is at the right end.
const SPARK_POINTS = 60;
const top_of = values => Math.max(...values.slice(-SPARK_POINTS), 1e-9);
function spark_path(values, highest) {
  const shown = values.slice(-SPARK_POINTS);
  const points = shown.map((value, i) => 
    [300 * (i + SPARK_POINTS - shown.length) / (SPARK_POINTS - 1), value]);
  return line(points, point => point[0],
    point => point[1] === null ? null : 95 - 90 * point[1] / highest);
}

// Seconds that the charts show: all there are, up to 15 minutes.
const span_of = ({points, now}) => Math.min(900, Math.max(60, points.length
  ? now.at - points[0][0] : 0));

// One chart of the last 15 minutes. `series` are [name, index in a point, class] or, if `stacks`,
// made at each drawing.
class Chart {
  constructor(parent, title, unit, series) {
    Object.assign(this, {title, unit, series});
    this.caption = element('figcaption');
    this.canvas = canvas('chart');
    this.incidents = svg('path', {class: 'incident'});
    this.canvas.append(this.incidents);
    this.paths = [];
    this.left = element('span');
    this.top = element('span');
    parent.append(element('figure', {}, this.caption, this.canvas,
      element('div', {class: 'ends', 'aria-hidden': 'true'}, this.left,
        this.top, element('span', {}, 'now'))));
  }
  begin(balancer) {
    [this.span, this.end] = [span_of(balancer), balancer.now.at];
    set_text(this.left, `${span(this.span)} ago`);
  }
  x(at) { return 300 * (1 - (this.end - at) / this.span); }
  path(i) {
    if (!this.paths[i]) {
      this.paths[i] = svg('path');
      this.canvas.insertBefore(this.paths[i], this.incidents);
    }
    return this.paths[i];
  }
  trim(count) {
    for (const path of this.paths.splice(count)) path.remove();
  }
  mark(balancer) {
    const shown = balancer.log.filter(entry => entry[2] > 0 && this.x(entry[1]) >= 0).slice(-40);
    this.incidents.setAttribute('d',
      shown.map(entry => `M${this.x(entry[1]).toFixed(1)} 0V100`).join(''));
  }
  explain(parts) {
    this.caption.replaceChildren(element('b', {}, this.title), ...parts);
  }
  draw(balancer) {
    this.begin(balancer);
    const shown = balancer.points.filter(point => this.x(point[0]) >= 0);
    const highest = Math.max(1e-9, ...this.series.flatMap(([, index]) =>
      shown.map(point => point[index] || 0)));
    this.series.forEach(([, index, style], i) => {
      const path = this.path(i);
      path.setAttribute('class', style);
      path.style.stroke = `var(${HUES[i]})`;
      path.setAttribute('d', line(shown, point => this.x(point[0]),
        point => point[index] === null ? null : 98 - 94 * point[index] / highest));
    });
    // Names only: the figures above have the numbers of this moment.
    this.explain(this.series.map(([name, , style], i) => {
      const key = element('span', {class: `key ${style}`}, name);
      key.style.setProperty('--hue', `var(${HUES[i]})`);
      return key;
    }));
    set_text(this.top, highest > 1e-9 ? `top line ${this.unit(highest)}` : '');
    this.mark(balancer);
  }
}

// How requests were spread over the backends. Those in trouble have an area of their own, and those
// that had a twentieth of all.
class ShareChart extends Chart {
  draw(balancer) {
    const {points, order} = balancer;
    this.begin(balancer);
    const sums = new Map(order.map(row => [row, row.rates.reduce((a, b) => a + b, 0)]));
    const least = 0.05 * [...sums.values()].reduce((a, b) => a + b, 0);
    const chosen = order.filter(row => row.troubled || sums.get(row) > least)
      .sort((a, b) => a.troubled !== b.troubled ? b.troubled - a.troubled
        : sums.get(b) - sums.get(a)).slice(0, HUES.length);
    chosen.sort((a, b) => a.slot - b.slot);
    const rest = order.filter(row => !chosen.includes(row));
    const groups = [...chosen.map(row => [row]), ...(rest.length ? [rest] : [])];
    const count = points.length;
    const at = (row, i) => row.rates[row.rates.length - count + i] || 0;
    const totals = points.map((_, i) => order.reduce((sum, row) => sum + at(row, i), 0));
    let below = points.map(() => 0);
    groups.forEach((group, g) => {
      const above = below.map((low, i) => low + (totals[i] > 0
        ? group.reduce((sum, row) => sum + at(row, i), 0) / totals[i] : 0));
      const corner = (edge, i) => `${this.x(points[i][0]).toFixed(1)} ` +
        `${(100 - 100 * edge[i]).toFixed(1)}`;
      const there = above.map((_, i) => corner(above, i));
      const back = below.map((_, i) => corner(below, i)).reverse();
      const path = this.path(g);
      path.setAttribute('d', count > 1 ? `M${there.join('L')}L${back.join('L')}Z` : '');
      path.style.fill = `var(${g < chosen.length ? HUES[g] : '--rest'})`;
      path.style.stroke = 'var(--back)';
      path.style.strokeWidth = '0.7';
      below = above;
    });
    this.trim(groups.length);
    this.explain(groups.map((group, g) => {
      const key = element('span', {class: 'key filled'},
        g < chosen.length ? brief(chosen[g].id, 28) : `${rest.length} others`);
      key.style.setProperty('--hue', `var(${g < chosen.length ? HUES[g] : '--rest'})`);
      return key;
    }));
    this.mark(balancer);
  }
}
)js";

}  // namespace poise::inline v0_1_0::observe::detail
