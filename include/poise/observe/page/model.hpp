// SPDX-License-Identifier: MIT
#pragma once

// The live page's script, first part: what the page knows, and how it keeps up with the server.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_model = R"js('use strict';
// A state has a word, a shape, how bad it is, and its place in the order of trouble;
// the last word follows "is".
const STATES = [
  ['healthy', '\u25cf', 'good', 8, 'healthy'], ['suspect', '\u25d4', 'warn', 5, 'suspect'],
  ['degraded', '\u25d0', 'warn', 3, 'degraded'], ['ejected', '\u25a0', 'bad', 0, 'ejected'],
  ['probation', '\u25c7', 'bad', 1, 'on probation'],
  ['slow start', '\u25b2', 'warn', 4, 'in slow start'],
  ['drained', '\u25cb', '', 7, 'drained'], ['unhealthy', '\u25a0', 'bad', 0, 'unhealthy'],
  ['new', '\u25b3', 'good', 6, 'new'], ['gone', '\u25cb', '', 7, 'gone'],
  ['declared healthy', '\u25cf', 'good', 8, 'declared healthy'],
  ['declared degraded', '\u25d0', 'warn', 3, 'declared degraded'],
  ['declared unhealthy', '\u25a0', 'bad', 0, 'declared unhealthy'],
];
// Picked like others, and fails: what a monitor has not seen yet, or none is there to see.
const FAILING = ['failing', '\u25bc', 'bad', 2, 'failing'];
const SLOW_START = STATES[5];
const MAX_POINTS = 300;

class Row {
  constructor([slot, id, address, zone, tier, path]) {
    Object.assign(this, {slot, id, address, zone, tier, path, rates: [], p50s: [], p99s: [],
      causes: {}, failure: null});
    this.take([slot, 0, 0, 0, 0, null, null, 0, 0, 0, 1000, 0]);
  }
  // As Row::encode() in feed.hpp writes it.
  take([, state, inFlight, rate, failures, p50, p99, share, intended, weight, admitted, limit,
    why, causes]) {
    Object.assign(this, {state, inFlight, rate, failures, p50, p99, share, intended, weight,
      admitted, limit, why: why || null, causes: causes || {}});
  }
  // One that is back still has the failures of its trial requests in its rate.
  get failing() {
    const least = STATES[this.state] === SLOW_START ? 0.5 : 0.05;
    return this.failures >= least && this.failures > 0.05 * this.rate;
  }
  get shown() {
    const state = STATES[this.state];
    return this.failing && state[3] > FAILING[3] ? FAILING : state;
  }
  // Since when it is shown as failing: exact if the page was there when it began.
  note_failure(since, isExact) {
    if (this.shown !== FAILING) this.failure = null;
    else if (!this.failure) this.failure = {since, isExact};
  }
  get rank() { return this.shown[3]; }
  get troubled() { return this.rank < 6; }
  get level() { return this.shown[2]; }
  keep() {
    for (const [past, value] of [[this.rates, this.rate], [this.p50s, this.p50],
      [this.p99s, this.p99]]) {
      past.push(value);
      if (past.length > MAX_POINTS) past.shift();
    }
  }
}

class Balancer {
  constructor(name) {
    Object.assign(this, {name, rows: new Map(), order: [], log: [], points: [], now: null,
      offset: Infinity, version: 0});
  }
  // `from` is what the server says of this balancer in one event.
  take(from, isFull) {
    this.find_offset(from.now.at);
    this.now = from.now;
    if (from.names) this.name_rows(from.names);
    for (const row of from.rows) this.rows.get(row[0])?.take(row);
    for (const row of this.order) row.note_failure(this.now.at, !isFull);
    const last = this.log.length ? this.log[this.log.length - 1][0] : 0;
    const series = new Set(this.log.map(entry => entry[5] || 0));
    if (isFull) this.log = [];
    const known = isFull ? 0 : last;
    for (const entry of from.log || []) if (entry[0] > known) this.note(entry);
    if (this.log.length > 256) this.log.splice(0, this.log.length - 256);
    if (isFull) this.take_past(from);
    else if (from.point) this.keep(from.point);
    return this.log.filter(entry => entry[0] > last && !(entry[5] && series.has(entry[5])));
  }
  // Events come late, never early; unless a clock was set. A clock that stands says nothing.
  find_offset(at) {
    if (at === this.now?.at) return;
    const offset = Date.now() / 1000 - at;
    this.offset = Math.abs(offset - this.offset) > 5 ? offset : Math.min(offset, this.offset);
  }
  // One of a series stands for those before it.
  note(entry) {
    if (entry[5]) this.log = this.log.filter(each => each[5] !== entry[5]);
    this.log.push(entry);
  }
  name_rows(names) {
    const rows = new Map();
    for (const name of names) {
      const row = this.rows.get(name[0]) || new Row(name);
      [, row.id, row.address, row.zone, row.tier, row.path] = name;
      rows.set(name[0], row);
    }
    this.rows = rows;
    this.order = [...rows.values()];
    ++this.version;
  }
  take_past({points, past, stride}) {
    this.points = points || [];
    const spread = values => values.flatMap(value => Array(stride).fill(value)).slice(-MAX_POINTS);
    for (const [slot, ...series] of past || []) {
      const row = this.rows.get(slot);
      if (row) [row.rates, row.p50s, row.p99s] = series.map(spread);
    }
  }
  keep(point) {
    this.points.push(point);
    if (this.points.length > MAX_POINTS) this.points.shift();
    for (const row of this.order) row.keep();
  }
  // The time of day, in seconds, of a moment by the balancer's clock.
  wall(at) { return at + this.offset; }
  get refused() { return Object.values(this.now.refusals).reduce((a, b) => a + b, 0); }
  // The fraction of what was asked for that failed or found no backend.
  get affected() {
    const asked = this.now.rate + this.refused;
    return asked > 0 ? (this.now.failures + this.refused) / asked : 0;
  }
  get troubled() {
    return this.order.filter(row => row.troubled).sort(by_trouble);
  }
  get isGone() { return (this.now.gone ?? null) !== null; }
  get all() {
    const {healthy, degraded, unhealthy, drained} = this.now;
    return healthy + degraded + unhealthy + drained;
  }
  // How many are neither drained nor in trouble.
  get well() {
    return Math.max(0, this.all - this.now.drained - this.troubled.length - this.unseen);
  }
  // How many are ill of those that have no row.
  get unseen() { return this.now.unlisted_unhealthy + this.now.unlisted_degraded; }
  get level() {
    if (this.isGone) return 'gone';
    const {all} = this;
    const {panic, healthy, degraded, unhealthy, ticks_missing} = this.now;
    if (panic || this.affected >= 0.01 || (all > 0 && healthy + degraded === 0)) return 'bad';
    const ill = unhealthy + degraded > 0 || this.order.some(row => row.troubled);
    return ill || ticks_missing || all === 0 || this.affected >= 0.001 ? 'warn' : 'good';
  }
}

// The worst first; of those that are out, the one that went last; of those that fail, the one that
// fails most, in tenths, so that the order rests. Else as configured.
function by_trouble(a, b) {
  if (a.rank !== b.rank) return a.rank - b.rank;
  const tenths = row => Math.round(10 * row.failures / row.rate);
  if (a.rank === FAILING[3]) return tenths(b) - tenths(a);
  return a.rank < 2 ? (b.why?.[0] || 0) - (a.why?.[0] || 0) : 0;
}

// -- the stream: reconnects by itself, and notices when nothing comes --------------------------

class Stream {
  constructor(onEvent, onState) {
    Object.assign(this, {onEvent, onState, source: null, timer: 0, delay: 500, opened: 0, heard: 0,
      began: Date.now(), epoch: '', number: 0});
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return this.close();
      this.began = Date.now();
      this.open();
    });
    setInterval(() => this.watch(), 500);
    this.open();
  }
  close() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.source?.close();
    this.source = null;
  }
  open() {
    this.close();
    this.opened = Date.now();
    this.source = new EventSource('events');
    for (const kind of ['full', 'set', 'tick'])
      this.source.addEventListener(kind, event => this.take(kind, JSON.parse(event.data)));
    this.source.onerror = () => this.retry();
  }
  retry() {
    this.close();
    this.timer = setTimeout(() => this.open(), this.delay);
    this.delay = Math.min(2 * this.delay, 3000);
  }
  take(kind, data) {
    const follows = data.epoch === this.epoch && data.number === this.number + 1;
    if (kind !== 'full' && this.epoch && !follows) return this.retry();
    [this.epoch, this.number, this.heard, this.delay] = [data.epoch, data.number, Date.now(), 500];
    this.onEvent(kind, data);
    this.onState('live', this.heard);
  }
  watch() {
    if (document.hidden) return;
    const now = Date.now();
    if (this.heard && now - this.heard > 3000) this.onState('stale', this.heard);
    if (!this.heard && now - this.began > 5000) this.onState('silent', this.began);
    if (this.source && now - Math.max(this.heard, this.opened) > 5000) this.retry();
  }
}
)js";

}  // namespace poise::inline v0_1_0::observe::detail
