// SPDX-License-Identifier: MIT
#pragma once

// The live page's script, last part: what is shown. Ids and lines of the log are only ever text.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_view = R"js(
const MARKS = {good: '\u25cf', warn: '\u25b2', bad: '\u25a0', gone: '\u25cb'};

// -- words ----------------------------------------------------------------------------------------

// An id that turns the direction of text shows its controls, and turns nothing but itself.
const CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const visible = text => text.replace(CONTROLS,
  control => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
const isolated = text => /[^\0-\x7f]/.test(text) ? `\u2068${text}\u2069` : text;
// The two ends of what is long: ids of one service often begin alike.
function shortened(text, max) {
  const letters = Array.from(text);
  if (letters.length <= max) return text;
  const end = Math.floor((max - 1) / 2);
  return `${letters.slice(0, max - 1 - end).join('')}\u2026${letters.slice(-end).join('')}`;
}
const MAX_ID = 48;
const MAX_LINE_ID = 200;  // as EventLog cuts it
const brief = (id, max = MAX_ID) => isolated(shortened(visible(id), max));
function set_id(node, id) {
  const whole = visible(id);
  set_text(node, shortened(whole, MAX_ID));
  if (whole !== node.textContent) node.title = whole;
  else node.removeAttribute('title');
}
function number(value) {
  if (value === null || value === undefined) return '-';
  if (value === 0) return '0';
  return value >= 100 ? Math.round(value).toLocaleString('en') : String(+value.toPrecision(2));
}
const in_ms = us => us === null || us === undefined ? '-'
  : us >= 100000 ? Math.round(us / 1000).toLocaleString('en') : String(+(us / 1000).toPrecision(2));
const ms = us => us === null || us === undefined ? '-' : `${in_ms(us)} ms`;
function percent(fraction) {
  const value = 100 * fraction;
  return `${value === 0 || value >= 9.95 ? Math.round(value) : value < 0.1 ? '<0.1'
    : value.toFixed(1)} %`;
}
const clock = seconds => new Date(seconds * 1000).toTimeString().slice(0, 8);
function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  return m < 60 ? `${m} min ${s % 60} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
}
const causes_of = causes => Object.entries(causes).sort((a, b) => b[1] - a[1])
  .map(([cause, rate]) => `${cause} ${number(rate)}/s`).join(', ');

// Since when, why, and what brings it back.
function explanation(balancer, row) {
  const parts = [];
  const [since, until, cause, value, limit, outSince] = row.why || [];
  if (row.why) {
    const wall = balancer.wall(outSince);
    const isBack = STATES[row.state] === SLOW_START;
    const order = cause === 'by the operator' ? `${cause} ` : '';
    parts.push(`${order}${isBack ? 'back ' : ''}since ${clock(wall)} ` +
      `(${span(balancer.now.at - outSince)})`);
    const unit = cause === 'latency' ? ' ms' : '';
    const figures = value || limit
      ? ` ${number(value)}${unit}, limit ${number(limit)}${unit}` : '';
    const isAgain = STATES[row.state][0] === 'ejected' && since > outSince && !figures;
    if (!isBack && !order) parts.push((isAgain ? 'last trial request: ' : '') + cause + figures);
  }
  const left = until === null || until === undefined ? null : until - balancer.now.at;
  const then = left !== null && left >= 0.5 ? `in ${span(left)}, at ${clock(balancer.wall(until))}`
    : null;
  switch (STATES[row.state][0]) {
    case 'ejected': parts.push(then ? `trial request ${then}` : left !== null
      ? 'trial request next' : 'until probes reach it'); break;
    case 'probation': parts.push('one trial request decides'); break;
    case 'new': case 'slow start': parts.push(row.admitted >= 1000
      ? 'gets all of its share already'
      : `gets ${percent(row.admitted / 1000)} of its share` + (then ? `, all of it ${then}` : ''));
      break;
    case 'degraded': case 'declared degraded':
      parts.push('gets what healthy ones can\u2019t carry'); break;
    case 'drained': if (!row.why) parts.push('by the operator'); break;
    case 'unhealthy': parts.push('found by a rule'); break;
  }
  if (row.shown === FAILING) {
    const {since: began, isExact} = row.failure;
    if (!row.why) parts.push(`${isExact ? '' : 'at least '}since ${clock(balancer.wall(began))} ` +
      `(${span(balancer.now.at - began)})`);
    parts.push(`fails ${percent(row.failures / row.rate)} of its requests: ` +
      causes_of(row.causes));
  }
  return parts.join('; ');
}

// -- the table ------------------------------------------------------------------------------------

const COLUMNS = [
  ['Backend', row => row.id],
  ['State and why', null],
  ['Share, intended', row => -row.share],
  ['In flight', row => -row.inFlight],
  ['Req/s', row => -row.rate],
  ['Fails/s', row => -row.failures],
  ['p50 ms', row => -(row.p50 ?? -1)],
  ['p99 ms', row => -(row.p99 ?? -1)],
  ['p50, p99 past', row => -(row.p99 ?? -1)],
  ['Weight', row => -row.weight],
];

class Line {
  constructor(row, onOpen, observer) {
    this.row = row;
    this.cells = COLUMNS.slice(1).map(([name]) => element('td', {'data-name': name}));
    this.button = element('button', {type: 'button'});
    set_id(this.button, row.id);
    this.button.addEventListener('click', () => onOpen(row.id));
    this.element = element('tr', {}, element('th', {scope: 'row'}, this.button), ...this.cells);
    const [state, share, flight, rate, failures, p50, p99, past, weight] = this.cells;
    this.state = element('span', {class: 'state'});
    this.why = element('span');
    state.append(this.state, ' ', this.why);
    this.share = element('span');
    this.got = element('i');
    this.meant = element('b');
    share.append(this.share, element('span', {class: 'bar', 'aria-hidden': 'true'}, this.got,
      this.meant));
    const canvas_ = canvas('spark');
    this.sparks = [svg('path'), svg('path', {class: 'dotted'})];
    canvas_.append(...this.sparks);
    past.append(canvas_);
    this.texts = [flight, rate, failures, p50, p99, weight].map(cell => {
      const text = element('span');
      cell.append(text);
      return text;
    });
    this.element.line = this;
    this.visible = false;
    observer.observe(this.element);
  }
  draw(balancer, widest, version) {
    const {row} = this;
    const [name, shape, level] = row.shown;
    this.element.dataset.level = level;
    this.state_drawn = row.shown;
    this.state.className = `state ${level}`;
    set_text(this.state, `${shape} ${name}`);
    set_text(this.why, explanation(balancer, row));
    set_text(this.share, `${(row.share / 10).toFixed(1)} / ${(row.intended / 10).toFixed(1)} %`);
    this.got.style.width = `${100 * row.share / widest}%`;
    this.meant.style.left = `${100 * row.intended / widest}%`;
    [row.limit ? `${row.inFlight} of ${row.limit}` : String(row.inFlight), number(row.rate),
      row.failures ? `${number(row.failures)} ${Object.keys(row.causes).join(', ')}` : '0',
      in_ms(row.p50), in_ms(row.p99),
      row.admitted < 1000 ? `${row.weight} at ${percent(row.admitted / 1000)}` : `${row.weight}`,
    ].forEach((text, i) => set_text(this.texts[i], text));
    if (this.version === version) return;
    this.version = version;
    const highest = Math.max(top_of(row.p50s), top_of(row.p99s));
    [row.p50s, row.p99s].forEach((past, i) => this.sparks[i].setAttribute('d',
      spark_path(past, highest)));
  }
}

class Table {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.sort = 1;
    this.lines = new Map();
    this.observer = new IntersectionObserver(entries => {
      for (const entry of entries) entry.target.line.visible = entry.isIntersecting;
      this.draw();
    }, {rootMargin: '100px'});
    window.addEventListener('beforeprint', () => this.draw(true));
    COLUMNS.forEach(([name], i) => {
      const button = element('button', {type: 'button'}, name);
      button.addEventListener('click', () => { this.sort = i; this.draw(); });
      $('columns').append(element('th', {scope: 'col'}, button));
    });
  }
  show(balancer) {
    if (this.balancer !== balancer || this.version !== balancer.version) {
      if (this.balancer !== balancer) this.clear();
      for (const [slot, line] of this.lines)
        if (!balancer.rows.has(slot)) { line.element.remove(); this.lines.delete(slot); }
      for (const row of balancer.order)
        if (!this.lines.has(row.slot))
          this.lines.set(row.slot, new Line(row, this.onOpen, this.observer));
      [this.balancer, this.version] = [balancer, balancer.version];
    }
    this.draw();
  }
  line_of(id) { return [...this.lines.values()].find(line => line.row.id === id); }
  clear() {
    for (const line of this.lines.values()) line.element.remove();
    this.lines.clear();
  }
  draw(all = this.lines.size <= 40) {
    const {balancer} = this;
    if (!balancer) return;
    [...$('columns').children].forEach((cell, i) => {
      if (i === this.sort) cell.setAttribute('aria-sort', i < 2 ? 'ascending' : 'descending');
      else cell.removeAttribute('aria-sort');
    });
    const key = COLUMNS[this.sort][1];
    const before = (a, b) => key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
    const order = [...balancer.order].sort(key ? before : by_trouble);
    this.arrange(order.map(row => this.lines.get(row.slot).element));
    const widest = Math.max(1, ...order.map(row => Math.max(row.share, row.intended)));
    for (const row of order) {
      const line = this.lines.get(row.slot);
      // Of many, others are drawn when they come into view, unless their state is another.
      if (all || line.visible || line.state_drawn !== row.shown)
        line.draw(balancer, widest, balancer.points.length && balancer.points.at(-1)[0]);
    }
  }
  // Moves as few rows as it can, and keeps the focus.
  arrange(wanted) {
    const focused = document.activeElement;
    let next = $('rows').firstChild;
    for (const row of wanted) {
      if (row === next) { next = next.nextSibling; continue; }
      if (next && next.nextSibling === row) { next = row.nextSibling; continue; }
      $('rows').insertBefore(row, next);
    }
    if (focused !== document.activeElement) focused.focus({preventScroll: true});
  }
}

// -- the rest of the page -------------------------------------------------------------------------

function log_item(balancer, [, at, level, id, text, series]) {
  const wall = balancer.wall(at);
  const mark = ['', '\u25b2 ', '\u25a0 '][level];
  const shown = id
    ? text.replace(shortened(visible(id), MAX_LINE_ID), () => brief(id)) : text;
  const item = element('li', {class: ['', 'warn', 'bad'][level], 'data-series': series || ''},
    element('time', {datetime: new Date(wall * 1000).toISOString()}, clock(wall)),
    ` ${mark}${shown}`);
  if (shown.length < text.length) item.title = text;
  return item;
}
// New entries are put in front of those that are there, unless they are another balancer's: also
// one of the same name, of a process that was started anew, counts its events from 1.
function draw_log(list, balancer, entries, count) {
  if (list.of !== balancer) [list.of, list.newest] = [balancer, 0];
  if (!list.newest) list.replaceChildren();
  const added = entries.filter(entry => entry[0] > list.newest).slice(-count);
  for (const entry of added) {
    if (entry[5]) list.querySelector(`[data-series="${entry[5]}"]`)?.remove();
    list.prepend(log_item(balancer, entry));
  }
  while (list.children.length > count) list.lastChild.remove();
  if (entries.length) list.newest = entries[entries.length - 1][0];
}
// A term is [name, value, the whole of a value that may be long].
function draw_terms(list, terms) {
  while (list.children.length > terms.length) list.lastChild.remove();
  terms.forEach(([name, value, whole], i) => {
    if (!list.children[i]) list.append(element('div', {}, element('dt'), element('dd')));
    set_text(list.children[i].firstChild, name);
    const node = list.children[i].lastChild;
    if (whole === undefined) set_text(node, value);
    else set_id(node, whole);
  });
}
function draw_items(list, texts) {
  while (list.children.length > texts.length) list.lastChild.remove();
  texts.forEach((text, i) => {
    if (!list.children[i]) list.append(element('li'));
    set_text(list.children[i], text);
  });
}

function all_drained(balancer, all) {
  const {affected, now} = balancer;
  const which = all === 1 ? 'The only backend is' : `All ${all} backends are`;
  return `\u25a0 ${which} drained` + (affected >= 0.001 ? ', and requests fail'
    : now.rate === 0 ? ': there is none for a request' : '');
}
function headline(balancer, troubled) {
  const {now, unseen, all, well} = balancer;
  if (balancer.isGone)
    return `${MARKS.gone} Gone since ${clock(balancer.wall(now.gone))}: it was destroyed`;
  const drained = now.drained ? `, ${now.drained} drained` : '';
  if (all === 0) return '\u25b2 There are no backends';
  if (now.drained === all) return all_drained(balancer, all);
  if (now.panic_opens)
    return '\u25a0 Panic: too few backends are left, so health is ignored';
  if (troubled.length === 1 && unseen === 0)
    return `${troubled[0].shown[1]} ${brief(troubled[0].id)} is ${troubled[0].shown[4]}` +
      (all > 1 ? `; ${well} of ${all} are healthy${drained}` : '');
  const ill = troubled.length + unseen;
  if (ill > 0) {
    const out = troubled.filter(row => row.rank < 2).length + now.unlisted_unhealthy;
    return `\u25a0 ${ill} of ${all} backends ${ill === 1 ? 'is' : 'are'} not well, ` +
      `${out || 'none'} of them out` + (unseen ? `, ${unseen} without a row` : '') + drained;
  }
  if (now.unhealthy + now.degraded > 0)
    return `\u25a0 ${now.unhealthy} of ${all} backends are unhealthy, ${now.degraded} degraded`;
  if (balancer.affected >= 0.001)
    return `\u25a0 Requests fail, though no backend is out: ${well} of ${all} are healthy`;
  if (now.ticks_missing) return '\u25b2 Nothing ticks this balancer: let a Ticker watch it';
  return `\u25cf All is well: ${well} of ${all} backends are healthy${drained}`;
}
function traffic(balancer) {
  const {now, affected, refused} = balancer;
  if (balancer.isGone) return 'What stands below are its last numbers.';
  if (now.rate + refused === 0) return 'There is no traffic.';
  const rate = `${number(now.rate + refused)} requests/s`;
  if (affected < 0.001) return `Traffic is not affected: ${rate}, fewer than 0.1 % fail.`;
  return `Traffic is affected: ${percent(affected)} of ${rate} fail` +
    (now.failures ? ` (${causes_of(now.causes)})` : '') +
    (refused ? `; no backend for ${causes_of(now.refusals)}` : '') + '.';
}

class Page {
  constructor() {
    Object.assign(this, {balancers: new Map(), shown: null, chosen: null, opened: null,
      paused: false, missed: [], due: false, lost: '', notices: [], announced: new Set(),
      unspoken: [], spokenAt: 0});
    this.table = new Table(id => this.open({id, of: this.shown.name}));
    this.explanations = new Explanations();
    const charts = $('charts');
    this.charts = [
      new Chart(charts, 'Requests/s', number, [['completed', 1, ''], ['in flight', 6, 'dotted']]),
      new Chart(charts, 'Failures/s', number, [['failed', 2, ''], ['no backend', 3, 'dashed']]),
      new Chart(charts, 'Latency', ms,
        [['p50', 4, ''], ['p90', 7, 'dotted'], ['p99', 5, 'dashed']]),
      new ShareChart(charts, 'Share of requests, from below'),
    ];
    $('pause').addEventListener('click', () => this.pause(!this.paused));
    $('close').addEventListener('click', () => this.open(null));
    document.addEventListener('keydown', event => event.key === 'Escape' && this.open(null));
    this.stream = new Stream((kind, data) => this.hear(kind, data),
      (state, since) => this.tell(state, since));
    for (const part of [$('live'), $('pause'), document.querySelector('main')])
      part.hidden = false;
  }
  // While it is paused nothing changes, whatever is clicked: events wait.
  hear(kind, data) {
    if (!this.paused) return this.take(kind, data);
    if (kind === 'full') this.missed = [];
    this.missed.push([kind, data]);
    if (this.missed.length > 300) this.stream.open();  // one `full` stands for them all
  }
  take(kind, data) {
    if (this.epoch !== data.epoch) {  // another process: its backends and events are others
      this.balancers.clear();
      [this.epoch, this.drawn, this.unspoken] = [data.epoch, null, []];
    }
    data.balancers.forEach((from, i) => {
      if (!this.balancers.has(i)) this.balancers.set(i, new Balancer(from.name));
      const balancer = this.balancers.get(i);
      const fresh = balancer.take(from, kind === 'full');
      if (kind !== 'full') this.unspoken.push(...fresh.filter(entry => entry[2] > 0)
        .map(entry => entry[4]));
    });
    this.notices = data.notices;
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.draw(); });
  }
  tell(state, since) {
    const at = clock(since / 1000);
    this.lost = {live: '', stale: `stale since ${at}`, silent: `no answer since ${at}`}[state];
    document.body.classList.toggle('stale', state !== 'live');
    $('live').dataset.state = state;
    this.draw_state();
    if (state === 'silent')
      set_text($('verdict-title'), `\u25a0 The server does not answer, since ${at}`);
  }
  draw_state() {
    const {lost, shown} = this;
    set_text($('live'), lost ? `\u25a0 ${lost}` : this.paused ? '\u275a\u275a paused'
      : this.stream.heard ? '\u25cf live' : 'connecting');
    const name = shown?.name || 'poise';
    document.title = lost ? `\u25a0 ${lost}: ${name}` : shown ? `${MARKS[shown.level]} ${name}`
      : name;
    if (!shown) return;
    const words = headline(shown, shown.troubled);
    set_text($('verdict-title'), lost ? `\u25a0 S${lost.slice(1)}. Before: ${words}` : words);
  }
  pause(paused) {
    this.paused = paused;
    $('pause').setAttribute('aria-pressed', paused);
    for (const [kind, data] of this.missed.splice(0)) this.take(kind, data);
    this.draw_state();
  }
  // Details of a backend: {id, of: the balancer's name}, or of none: null.
  open(which) {
    const was = this.opened;
    this.opened = which;
    $('detail').hidden = which === null;
    $('detail-log').newest = 0;
    if (which !== null) { this.draw(); $('close').focus(); }
    else if (was !== null) this.table.line_of(was.id)?.button.focus();
  }
  draw() {
    const all = [...this.balancers.values()];
    if (all.length === 0) return;
    const wanted = this.opened ? this.opened.of : this.chosen;
    const worst = level => all.find(each => each.level === level);
    this.shown = all.find(each => each.name === wanted) || worst('bad') || worst('warn') ||
      worst('good') || all[0];
    const balancer = this.shown;
    const {now} = balancer;
    set_text($('name'), balancer.name || 'poise');
    set_text($('policy'), balancer.isGone ? 'the balancer is gone' : `policy ${now.policy}`);
    this.draw_choice(all);
    const troubled = balancer.troubled;
    $('verdict').dataset.level = balancer.level;
    this.draw_state();
    set_text($('traffic'), traffic(balancer));
    const lines = troubled.slice(0, 3).map(row =>
      `${row.shown[1]} ${brief(row.id)}, ${row.shown[4]}: ${explanation(balancer, row)}`);
    if (troubled.length > 3) lines.push(`and ${troubled.length - 3} more, first in the table`);
    if (balancer.unseen > 0)
      lines.push(`and ${balancer.unseen} without a row: ${now.unlisted_unhealthy} unhealthy, ` +
        `${now.unlisted_degraded} degraded`);
    if (now.observer_failures) lines.push(`${now.observer_failures} hooks of observers threw`);
    draw_items($('troubles'), lines);
    this.draw_notices();
    draw_log($('log'), balancer, balancer.log, 100);
    draw_terms($('figures'), [
      ['requests/s', number(now.rate)], ['failures/s', number(now.failures)],
      ['no backend/s', number(balancer.refused)], ['p50', ms(now.p50)], ['p90', ms(now.p90)],
      ['p99', ms(now.p99)], ['in flight', number(now.in_flight)],
      ['retries/s', number(now.retries)], ['hedges/s', number(now.hedges)],
      ['healthy', balancer.isGone ? '-' : `${balancer.well} of ${balancer.all}`],
    ]);
    this.draw_charts(balancer);
    $('unlisted').hidden = now.unlisted === 0;
    set_text($('unlisted'), `${now.unlisted} more backends have no row: raise ` +
      'ReaderOptions::cap, in TOML metrics.series; rows are at most 1000.');
    this.table.show(balancer);
    this.draw_detail(balancer);
    this.speak();
  }
  draw_notices() {
    draw_items($('notices'), this.notices.map(([level, text, name, since]) => {
      const of = [...this.balancers.values()].find(balancer => balancer.name === name);
      const parts = [['\u25cf', '\u25b2', '\u25a0'][level]];
      if (of && this.balancers.size > 1) parts.push(`${name},`);
      if (of && since !== null) parts.push(`alert since ${clock(of.wall(since))}:`);
      return [...parts, text].join(' ');
    }));
    this.notices.forEach(([level], i) => {
      $('notices').children[i].className = ['good', 'warn', 'bad'][level];
    });
    this.announce();
  }
  draw_charts(balancer) {
    const drawn = `${balancer.name} ${balancer.points.length && balancer.points.at(-1)[0]} ` +
      `${balancer.log.length && balancer.log.at(-1)[0]}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    for (const chart of this.charts) chart.draw(balancer);
  }
  draw_choice(all) {
    const nav = $('balancers');
    nav.hidden = all.length < 2;
    if (nav.hidden) return;
    while (nav.children.length > all.length) nav.lastChild.remove();
    all.forEach((balancer, i) => {
      if (!nav.children[i]) {
        nav.append(element('button', {type: 'button'}));
        nav.children[i].addEventListener('click', () => {
          this.shown = [...this.balancers.values()][i];
          this.chosen = this.shown.name;
          this.open(null);
          this.draw();
        });
      }
      nav.children[i].setAttribute('aria-pressed', balancer === this.shown);
      set_text(nav.children[i], `${MARKS[balancer.level]} ${brief(balancer.name)}`);
    });
  }
  draw_detail(balancer) {
    if (this.opened === null) return;
    const row = balancer.name === this.opened.of
      && balancer.order.find(each => each.id === this.opened.id);
    if (!row) return this.open(null);
    set_id($('detail-title'), row.id);
    draw_terms($('detail-figures'), [
      ['state', `${row.shown[1]} ${row.shown[0]} ${explanation(balancer, row)}`],
      ['address', '', row.address || '-'], ['zone', '', row.zone || '-'],
      ['tier', String(row.tier)],
      ['weight', String(row.weight)], ['admitted', percent(row.admitted / 1000)],
      ['share', percent(row.share / 1000)], ['intended', percent(row.intended / 1000)],
      ['in flight', `${row.inFlight}${row.limit ? ` of ${row.limit}` : ''}`],
      ['requests/s', number(row.rate)],
      ['failures/s', `${number(row.failures)} ${causes_of(row.causes)}`],
      ['p50', ms(row.p50)], ['p99', ms(row.p99)],
    ]);
    const base = EXPLAINED[[...this.balancers.values()].indexOf(balancer)];
    this.explanations.show(balancer.isGone ? null : base ?? null, row.id, row.path);
    draw_log($('detail-log'), balancer, balancer.log.filter(entry => entry[3] === row.id), 20);
  }
  // For screen readers: a notice once, although its numbers change; what is bad at once.
  announce() {
    const key = ([level, text, name, since]) => since === null ? text
      : `${level} ${name} ${since} ${text.split(':', 1)[0]}`;
    this.notices.filter(notice => !this.announced.has(key(notice))).forEach(([level, text]) => {
      if (level === 2) set_text($('alarm'), text);
      else this.unspoken.unshift(text);
    });
    this.announced = new Set(this.notices.map(key));
  }
  // For screen readers: a sentence every five seconds at most.
  speak() {
    if (this.unspoken.length === 0 || Date.now() - this.spokenAt < 5000) return;
    const [first] = this.unspoken;
    set_text($('spoken'), this.unspoken.length === 1 ? first
      : `${this.unspoken.length} events, one of them: ${first}`);
    [this.unspoken, this.spokenAt] = [[], Date.now()];
  }
}
const page = new Page();
)js";

}  // namespace poise::inline v0_1_0::observe::detail
