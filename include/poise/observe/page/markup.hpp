// SPDX-License-Identifier: MIT
#pragma once

// The live page's HTML: a frame without data, so that nothing has to be escaped in it.

#include <string_view>

namespace poise::inline v0_1_0::observe::detail {

inline constexpr std::string_view page_head = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>poise</title>
<link rel="icon" href="data:,">
)html";

// What needs a script is hidden until there is one.
inline constexpr std::string_view page_body = R"html(</head>
<body>
<noscript><p>This page needs JavaScript; <a href="text">the same numbers are there as text</a>.</p>
</noscript>
<header>
  <h1 id="name">poise</h1>
  <span id="policy"></span>
  <nav id="balancers" aria-label="Balancers" hidden></nav>
  <span id="live" role="status" hidden>connecting</span>
  <button id="pause" type="button" aria-pressed="false" hidden>Pause</button>
</header>
<main hidden>
  <section id="verdict" aria-labelledby="verdict-title" data-level="unknown">
    <h2 id="verdict-title">Waiting for the first numbers</h2>
    <p id="traffic"></p>
    <ul id="troubles"></ul>
    <ul id="notices"></ul>
  </section>
  <section id="recent" aria-labelledby="recent-title">
    <h2 id="recent-title">What changed</h2>
    <ol id="log" tabindex="0" aria-labelledby="recent-title"></ol>
  </section>
  <dl id="figures" aria-label="Now"></dl>
  <section id="charts" aria-label="The last 15 minutes"></section>
  <section id="backends" aria-labelledby="backends-title">
    <h2 id="backends-title">Backends</h2>
    <p id="unlisted" hidden></p>
    <table>
      <caption class="unseen">Backends, those in trouble first</caption>
      <thead><tr id="columns"></tr></thead>
      <tbody id="rows"></tbody>
    </table>
  </section>
  <section id="detail" aria-labelledby="detail-title" hidden>
    <h2 id="detail-title"></h2>
    <button id="close" type="button">Close</button>
    <dl id="detail-figures"></dl>
    <div id="explanations" hidden>
      <h3>Why <a id="why-link">as text</a></h3>
      <pre id="why" tabindex="0" aria-label="Why"></pre>
      <h3><label for="key">What would a request with this key get?</label></h3>
      <p><input id="key" autocomplete="off" spellcheck="false">
      <button id="ask" type="button">Explain</button></p>
      <pre id="explanation" tabindex="0" role="status" aria-label="Explanation"></pre>
    </div>
    <h3>History</h3>
    <ol id="detail-log"></ol>
  </section>
</main>
<footer>
  <p>The same as <a href="text">text</a>, <a href="json">JSON</a> and <a href="metrics">metrics</a>.
  Choose a backend to see its history; <kbd>Esc</kbd> closes it.</p>
</footer>
<p id="spoken" class="unseen" aria-live="polite"></p>
<p id="alarm" class="unseen" role="alert"></p>
)html";

}  // namespace poise::inline v0_1_0::observe::detail
