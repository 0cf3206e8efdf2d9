// SPDX-License-Identifier: MIT
#pragma once

// Every field of a configuration: the one description from which parser, messages, dump, schema
// and reference are made. A field that is added here is known everywhere.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/config/checks.hpp>
#include <poise/config/field.hpp>
#include <poise/config/settings.hpp>
#include <poise/endpoint.hpp>
#include <poise/engine/endpoint_checks.hpp>

namespace poise::inline v0_1_0::config {

/// A table of the file; the first one has no name, and stands at the top.
struct Section {
  std::string_view name;
  std::string_view doc;
  std::vector<Field<Settings>> fields;
  /// The field that switches it on, and whether it is. Empty for what always counts.
  std::string_view switch_path{};
  bool (*is_on)(Settings const&) = nullptr;
};

/// The label fields of an entry of [[backends]] are free; all else is described here.
[[nodiscard]] inline std::vector<Field<Endpoint>> const& backend_fields() {
  static std::vector<Field<Endpoint>> const fields{
      field<Endpoint>(
          "id", [](Endpoint& e) -> auto& { return e.id; },
          "Names the backend for ever: statistics and health follow it through reloads. Without "
          "it, the address."),
      field<Endpoint>("address", [](Endpoint& e) -> auto& { return e.address; },
                      "host:port, [ipv6]:port or unix:PATH.", {.check = detail::check_address}),
      field<Endpoint>("weight", [](Endpoint& e) -> auto& { return e.weight; },
                      "Its share relative to the others; 0 takes no traffic.",
                      {.max = poise::detail::max_weight}),
      field<Endpoint>(
          "zone", [](Endpoint& e) -> auto& { return e.zone; },
          "Where it runs, for policies that prefer near backends."),
      field<Endpoint>(
          "tier", [](Endpoint& e) -> auto& { return e.tier; },
          "0 is used first, for policies that fail over by tier."),
      limit<Endpoint>(
          "max_in_flight", [](Endpoint& e) -> auto& { return e.max_in_flight; },
          "At most so many requests in flight there."),
  };
  return fields;
}

namespace detail {

[[nodiscard]] inline Section top_section() {
  using S = Settings;
  return {
      "",
      "",
      {
          field<S>("name", [](S& s) -> auto& { return s.name; },
                   "What metrics and logs call the balancer.", {.check = check_name}),
          policy_field<S>("policy", [](S& s) -> auto& { return s.policy; },
                          "How backends are chosen: a text such as \"p2c(load=peak_ewma)\", or a "
                          "table with the same name and options; choosing.md lists them.",
                          {.check = check_policy}),
          field<S>("source", [](S& s) -> auto& { return s.source; },
                   "Where backends come from, instead of [[backends]]: \"KIND:WHERE\", such as "
                   "\"consul:http://127.0.0.1:8500/web\" or \"file:/etc/backends\".",
                   {.check = check_source}),
      }};
}

[[nodiscard]] inline std::vector<Section> health_sections() {
  using S = Settings;
  return {
      {"health",
       "The health monitor: which backends are ejected, and how they come back.",
       {
           field<S>("interval", [](S& s) -> auto& { return s.health.monitor.interval; },
                    "How often criteria compare the pool.", {.above = true}),
           field<S>(
               "probe_silence", [](S& s) -> auto& { return s.health.monitor.probe_silence; },
               "A backend that probes called down is released if they do not repeat it within this "
               "time.",
               {.above = true}),
           at_restart<S>(field<S>("history", [](S& s) -> auto& { return s.health.monitor.history; },
                                  "Transitions that are kept per backend.",
                                  {.min = 1, .max = 10'000})),
       }},
      {"health.ejection",
       "How long a backend stays out, and how many may be out at once.",
       {
           field<S>("base", [](S& s) -> auto& { return s.health.monitor.ejection.base; },
                    "The first time; the n-th in a row takes n times it.", {.above = true}),
           field<S>("unreachable",
                    [](S& s) -> auto& { return s.health.monitor.ejection.unreachable; },
                    "Instead of base where no connection could be made.", {.above = true}),
           field<S>("max", [](S& s) -> auto& { return s.health.monitor.ejection.max; },
                    "Never longer than this, jitter apart.", {.above = true}),
           fraction<S>(
               "jitter", [](S& s) -> auto& { return s.health.monitor.ejection.jitter; },
               "Up to this fraction is added, so that not all come back at once."),
           fraction<S>(
               "max_ejected", [](S& s) -> auto& { return s.health.monitor.ejection.max_ejected; },
               "At most this fraction of all backends is out, but always one."),
           field<S>("max_trial", [](S& s) -> auto& { return s.health.monitor.ejection.max_trial; },
                    "A trial request that takes longer lets another one in.", {.above = true}),
       }},
      {"health.slow_start",
       "How a backend that recovered or joined comes up to its full share.",
       {
           field<S>(
               "window", [](S& s) -> auto& { return s.health.monitor.slow_start.window; },
               "How long that takes; \"0s\": at once."),
           fraction<S>("min_fraction",
                       [](S& s) -> auto& { return s.health.monitor.slow_start.min_fraction; },
                       "The fraction that it starts with.", {.max = 1, .above = true}),
           field<S>("aggression",
                    [](S& s) -> auto& { return s.health.monitor.slow_start.aggression; },
                    "Its shape: the fraction is (t / window)^(1 / aggression).",
                    {.max = 100, .above = true}),
           field<S>("overload", [](S& s) -> auto& { return s.health.monitor.slow_start.overload; },
                    "Meanwhile no other backend is asked for more than this times its due.",
                    {.min = 1, .max = 1000}),
       }},
      {"health.panic",
       "What happens when too few backends are left.",
       {
           fraction<S>(
               "threshold", [](S& s) -> auto& { return s.health.monitor.panic.threshold; },
               "Less than this fraction selectable is panic; 0: never."),
           choice<S>("mode", [](S& s) -> auto& { return s.health.monitor.panic.mode; },
                     "open: every backend is picked, whatever is known of it; closed: none is.",
                     {"open", "closed"}),
       }},
  };
}

/// What all criteria have.
template <class Criterion>
void add_enforcement(std::vector<Field<Settings>>& fields, Criterion criterion) {
  fields.push_back(fraction<Settings>(
      "enforce", [=](Settings& s) -> auto& { return criterion(s).enforcement.probability; },
      "The probability that a finding has a consequence; 0: it is only logged."));
  fields.push_back(field<Settings>(
      "degrade", [=](Settings& s) -> auto& { return criterion(s).enforcement.degrade; },
      "The consequence is less traffic instead of none."));
}

template <class Criterion>
[[nodiscard]] Section criterion_section(std::string_view name, std::string_view doc,
                                        Criterion criterion, std::vector<Field<Settings>> fields) {
  add_enforcement(fields, criterion);
  return {name, doc, std::move(fields)};
}

[[nodiscard]] inline std::vector<Section> criteria_sections() {
  using S = Settings;
  return {
      criterion_section(
          "health.consecutive", "Several failures in a row.",
          [](S& s) -> auto& { return s.health.consecutive; },
          {
              field<S>("failures", [](S& s) -> auto& { return s.health.consecutive.failures; },
                       "So many failures of any kind.", {.min = 1}),
              field<S>("unreachable",
                       [](S& s) -> auto& { return s.health.consecutive.unreachable; },
                       "So many failures to connect.", {.min = 1}),
          }),
      criterion_section(
          "health.failure_rate", "Too many of an interval's requests failed, not everywhere.",
          [](S& s) -> auto& { return s.health.failure_rate; },
          {
              fraction<S>("limit", [](S& s) -> auto& { return s.health.failure_rate.limit; },
                          "The fraction of failures that is too much.", {.max = 1, .above = true}),
              field<S>("volume", [](S& s) -> auto& { return s.health.failure_rate.volume; },
                       "Requests in an interval; with fewer a backend is not judged.", {.min = 1}),
              field<S>(
                  "backends", [](S& s) -> auto& { return s.health.failure_rate.backends; },
                  "Backends in service; with fewer none is judged."),
          }),
      criterion_section(
          "health.success_rate", "A success rate far below the pool's mean.",
          [](S& s) -> auto& { return s.health.success_rate; },
          {
              field<S>("deviations", [](S& s) -> auto& { return s.health.success_rate.deviations; },
                       "So many standard deviations below the mean.", {.max = 1000, .above = true}),
              fraction<S>(
                  "gap", [](S& s) -> auto& { return s.health.success_rate.gap; },
                  "And at least so far below it."),
              field<S>("volume", [](S& s) -> auto& { return s.health.success_rate.volume; },
                       "Requests in an interval; with fewer a backend is not judged.", {.min = 1}),
              field<S>(
                  "backends", [](S& s) -> auto& { return s.health.success_rate.backends; },
                  "Backends that are judged; with fewer none is."),
          }),
      criterion_section(
          "health.latency", "A median latency far above the others'.",
          [](S& s) -> auto& { return s.health.latency; },
          {
              field<S>("factor", [](S& s) -> auto& { return s.health.latency.factor; },
                       "So many times the median of the others.", {.max = 1e6, .above = true}),
              field<S>(
                  "min", [](S& s) -> auto& { return s.health.latency.min; },
                  "No backend is slow below this."),
              field<S>("intervals", [](S& s) -> auto& { return s.health.latency.intervals; },
                       "For so many intervals in a row.", {.min = 1}),
              field<S>(
                  "volume", [](S& s) -> auto& { return s.health.latency.volume; },
                  "Requests in an interval; with fewer a backend is not judged."),
          }),
      criterion_section(
          "health.rejections", "Rejects requests that the other backends accept.",
          [](S& s) -> auto& { return s.health.rejections; },
          {
              fraction<S>("gap", [](S& s) -> auto& { return s.health.rejections.gap; },
                          "So far above the fraction that the others reject.",
                          {.max = 1, .above = true}),
              field<S>("volume", [](S& s) -> auto& { return s.health.rejections.volume; },
                       "Requests of the backend, and of the others together.", {.min = 1}),
          }),
  };
}

[[nodiscard]] inline Section probe_section() {
  using S = Settings;
  return {
      "probe",
      "Active health checks.",
      {
          choice<S>("kind", [](S& s) -> auto& { return s.probe.kind; },
                    "none: no probes; tcp: a connection; http: GET of path is answered with 200 to "
                    "299.",
                    {"none", "tcp", "http"}),
          field<S>("path", [](S& s) -> auto& { return s.probe.path; }, "What http asks for.",
                   {.check = check_path}),
          field<S>("interval", [](S& s) -> auto& { return s.probe.options.interval; },
                   "Between two probes of a backend that is up.", {.above = true}),
          field<S>("timeout", [](S& s) -> auto& { return s.probe.options.timeout; },
                   "A later answer is a failure. Shorter than interval.", {.above = true}),
          field<S>("rise", [](S& s) -> auto& { return s.probe.options.rise; },
                   "Good answers in a row that end a down.", {.min = 1}),
          field<S>("fall", [](S& s) -> auto& { return s.probe.options.fall; },
                   "Failures in a row that begin one.", {.min = 1}),
          field<S>("doubt_interval", [](S& s) -> auto& { return s.probe.options.doubt_interval; },
                   "Between two probes while answers disagree.", {.above = true}),
          field<S>("max_down_interval",
                   [](S& s) -> auto& { return s.probe.options.max_down_interval; },
                   "The longest wait while a backend is down; health.probe_silence must be longer.",
                   {.above = true}),
          fraction<S>(
              "jitter", [](S& s) -> auto& { return s.probe.options.jitter; },
              "Waits are stretched by up to this fraction."),
          field<S>(
              "spread", [](S& s) -> auto& { return s.probe.options.spread; },
              "The first probes of each hundred backends are spread over this time."),
      },
      "probe.kind",
      [](S const& s) { return s.probe.kind != ProbeKind::none; }};
}

[[nodiscard]] inline Section retry_section() {
  using S = Settings;
  return {
      "retry",
      "Retries and hedges of call(), around the policy. The same as policy = \"retry(...)\".",
      {
          field<S>("attempts", [](S& s) -> auto& { return s.retry.attempts; },
                   "At most so many, the first one and hedges included; 1 never retries.",
                   {.min = 1}),
          field<S>(
              "base_pause", [](S& s) -> auto& { return s.retry.base_pause; },
              "The first pause is shorter than this."),
          field<S>(
              "max_pause", [](S& s) -> auto& { return s.retry.max_pause; },
              "Every pause is shorter than this."),
          field<S>(
              "on", [](S& s) -> auto& { return s.retry.on; },
              "What is retried: \"failures\", or names of results joined by +, with _ for spaces.",
              {.check = check_results}),
          field<S>(
              "timeout", [](S& s) -> auto& { return s.retry.timeout; },
              "Of the whole call; \"0s\": only the request's deadline."),
          field<S>(
              "attempt_timeout", [](S& s) -> auto& { return s.retry.attempt_timeout; },
              "Of each attempt; \"0s\": only the call's."),
          field<S>(
              "max_pushback", [](S& s) -> auto& { return s.retry.max_pushback; },
              "No retry after a backend asked for a longer pause."),
          field<S>("budget_fraction", [](S& s) -> auto& { return s.retry.budget_fraction; },
                   "Retries per request, within each second.", {.max = 100}),
          field<S>(
              "min_retries_per_second",
              [](S& s) -> auto& { return s.retry.min_retries_per_second; },
              "Always allowed, whatever the fraction."),
          fraction<S>("hedge_percentile", [](S& s) -> auto& { return s.retry.hedge_percentile; },
                      "Hedge attempts that take longer than this fraction of all; 0: don't.",
                      {.max = 0.9999}),
          field<S>(
              "hedge_after", [](S& s) -> auto& { return s.retry.hedge_after; },
              "Hedge attempts after this time; \"0s\": don't."),
      },
      "retry.attempts",
      [](S const& s) { return s.retry.attempts > 1; }};
}

[[nodiscard]] inline std::vector<Section> limits_sections() {
  using S = Settings;
  return {
      {"limits",
       "How many requests may be in flight, and wait.",
       {
           limit<S>(
               "max_in_flight", [](S& s) -> auto& { return s.limits.max_in_flight; },
               "At each backend."),
           field<S>(
               "max_waiting", [](S& s) -> auto& { return s.limits.max_waiting; },
               "At most so many requests wait for a backend at once (pick_for)."),
       }},
      {"limits.adaptive",
       "A limit per backend that follows its latency.",
       {
           field<S>(
               "enabled", [](S& s) -> auto& { return s.limits.adapts; }, "Whether there is one."),
           field<S>("initial", [](S& s) -> auto& { return s.limits.adaptive.initial; },
                    "Where it starts.", {.min = 1}),
           field<S>("min", [](S& s) -> auto& { return s.limits.adaptive.min; }, "It is never less.",
                    {.min = 1}),
           field<S>("max", [](S& s) -> auto& { return s.limits.adaptive.max; }, "It is never more.",
                    {.min = 1}),
           field<S>("tolerance", [](S& s) -> auto& { return s.limits.adaptive.tolerance; },
                    "Latencies up to this times the least are not yet queueing.",
                    {.min = 1, .max = 1000}),
           fraction<S>("smoothing", [](S& s) -> auto& { return s.limits.adaptive.smoothing; },
                       "How far it moves at each step.", {.max = 1, .above = true}),
           field<S>("step", [](S& s) -> auto& { return s.limits.adaptive.step; },
                    "How often it moves.", {.above = true}),
       },
       "limits.adaptive.enabled",
       [](S const& s) { return s.limits.adapts; }},
  };
}

[[nodiscard]] inline Section load_reports_section() {
  using S = Settings;
  return {
      "load_reports",
      "Weights from what backends say about their load (ORCA).",
      {
          field<S>(
              "enabled", [](S& s) -> auto& { return s.load_reports.enabled; },
              "Whether they replace the weights of backends."),
          field<S>(
              "blackout", [](S& s) -> auto& { return s.load_reports.weights.blackout; },
              "Reports count after they came for this long."),
          field<S>("expiration", [](S& s) -> auto& { return s.load_reports.weights.expiration; },
                   "They count until none came for this long.", {.above = true}),
          field<S>("update_period",
                   [](S& s) -> auto& { return s.load_reports.weights.update_period; },
                   "How often weights follow them, in whole ticks.", {.above = true}),
          field<S>(
              "error_penalty", [](S& s) -> auto& { return s.load_reports.weights.error_penalty; },
              "What a failing request costs, in parts of a backend's capacity.", {.max = 1000}),
          field<S>("max_ratio", [](S& s) -> auto& { return s.load_reports.weights.max_ratio; },
                   "No weight is further from the median of all.", {.min = 1, .max = 1000}),
          field<S>("max_step", [](S& s) -> auto& { return s.load_reports.weights.max_step; },
                   "No weight changes by a larger factor in an update.", {.min = 1, .max = 1000}),
          fraction<S>("min_change", [](S& s) -> auto& { return s.load_reports.weights.min_change; },
                      "Weights that differ less stay.", {.max = 1}),
      },
      "load_reports.enabled",
      [](S const& s) { return s.load_reports.enabled; }};
}

[[nodiscard]] inline std::vector<Section> discovery_sections() {
  using S = Settings;
  return {
      {"discovery",
       "How the source is asked, and how long its list counts.",
       {
           field<S>("refresh", [](S& s) -> auto& { return s.discovery.follower.refresh; },
                    "Between answers that say nothing of how long they are good.", {.above = true}),
           field<S>("floor", [](S& s) -> auto& { return s.discovery.follower.floor; },
                    "Between two questions, at least.", {.above = true}),
           field<S>("backoff", [](S& s) -> auto& { return s.discovery.follower.backoff; },
                    "The longest wait after a first failure.", {.above = true}),
           field<S>("max_backoff", [](S& s) -> auto& { return s.discovery.follower.max_backoff; },
                    "The longest wait after many.", {.above = true}),
           field<S>("answer_within",
                    [](S& s) -> auto& { return s.discovery.follower.answer_within; },
                    "No answer for so long is a failure.", {.above = true}),
           field<S>("full_read", [](S& s) -> auto& { return s.discovery.follower.full_read; },
                    "A source that watches is asked again after half of this to all of it.",
                    {.above = true}),
           field<S>("stale_after", [](S& s) -> auto& { return s.discovery.follower.stale_after; },
                    "A list without an answer for so long is called stale; it stays in force.",
                    {.above = true}),
           field<S>(
               "debounce", [](S& s) -> auto& { return s.discovery.follower.debounce; },
               "Between two changes, at least."),
           secret_field<S>(
               "token", [](S& s) -> auto& { return s.credentials.token_file; },
               "What Consul or Kubernetes asks for, read again at each full look; \"\": "
               "CONSUL_HTTP_TOKEN or KUBERNETES_TOKEN."),
           field<S>(
               "user", [](S& s) -> auto& { return s.credentials.user; },
               "The user of etcd; \"\": ETCD_USER and ETCD_PASSWORD."),
           secret_field<S>(
               "password", [](S& s) -> auto& { return s.credentials.password_file; },
               "The password of that user, read again at each full look."),
           field<S>(
               "snapshot", [](S& s) -> auto& { return s.discovery.snapshot; },
               "A file that keeps the last list for a start without registry; \"\": none."),
       },
       "source",
       [](S const& s) { return !s.source.empty(); }},
      {"discovery.guard",
       "How much of a new list is believed.",
       {
           field<S>(
               "min_endpoints",
               [](S& s) -> auto& { return s.discovery.follower.guard.min_endpoints; },
               "Fewer backends than this are never left."),
           fraction<S>(
               "max_shrink", [](S& s) -> auto& { return s.discovery.follower.guard.max_shrink; },
               "The loss of a larger fraction must be confirmed."),
           field<S>("confirmations",
                    [](S& s) -> auto& { return s.discovery.follower.guard.confirmations; },
                    "By so many answers ...", {.min = 1}),
           field<S>(
               "apart", [](S& s) -> auto& { return s.discovery.follower.guard.apart; },
               "... that are so far apart ..."),
           field<S>(
               "confirm_for", [](S& s) -> auto& { return s.discovery.follower.guard.confirm_for; },
               "... or by being missing for so long."),
           choice<S>("on_empty", [](S& s) -> auto& { return s.discovery.follower.guard.on_empty; },
                     "keep: an empty list is never believed; obey: once it is confirmed.",
                     {"keep", "obey"}),
           field<S>(
               "hold_removals",
               [](S& s) -> auto& { return s.discovery.follower.guard.hold_removals; },
               "A backend that the source left out stays for this time."),
       },
       "source",
       [](S const& s) { return !s.source.empty(); }},
  };
}

[[nodiscard]] inline std::vector<Section> telling_sections() {
  using S = Settings;
  return {
      {"metrics",
       "A server for the live page at /, /metrics, /json, /text, /healthz, /explain and /why/ID.",
       {
           field<S>("listen", [](S& s) -> auto& { return s.metrics.listen; },
                    "IP:PORT to serve them on, such as \"127.0.0.1:9100\"; \"\": no server.",
                    {.check = check_listen}),
           field<S>("series", [](S& s) -> auto& { return s.metrics.series; },
                    "At most so many backends by name; the rest is \"other\".", {.max = 100'000}),
           field<S>(
               "histograms", [](S& s) -> auto& { return s.metrics.histograms; },
               "A histogram of each backend by name."),
       },
       "metrics.listen",
       [](S const& s) { return !s.metrics.listen.empty(); }},
      {"alerts",
       "The default rules, evaluated once a second; alerts go to the log.",
       {
           field<S>(
               "enabled", [](S& s) -> auto& { return s.alerts.enabled; },
               "Whether they are evaluated."),
           fraction<S>("success", [](S& s) -> auto& { return s.alerts.success; },
                       "The fraction of requests that are to succeed.",
                       {.min = 0, .max = 0.999999, .above = true}),
           field<S>(
               "latency", [](S& s) -> auto& { return s.alerts.latency; },
               "What the 99th percentile of latencies is to keep; \"0s\": no objective."),
           field<S>("list_age", [](S& s) -> auto& { return s.alerts.list_age; },
                    "A list of backends that was not confirmed for so long is stale.",
                    {.above = true}),
       },
       "alerts.enabled",
       [](S const& s) { return s.alerts.enabled; }},
  };
}

[[nodiscard]] inline std::vector<Section> gateway_sections() {
  using S = Settings;
  std::vector<Field<S>> fields{
      at_restart<S>(field<S>("listen", [](S& s) -> auto& { return s.gateway.listen; },
                             "IP:PORT where clients connect.", {.check = check_gateway_listen})),
      at_restart<S>(field<S>("threads", [](S& s) -> auto& { return s.gateway.threads; },
                             "Threads that serve them; 0: one per core.", {.max = 256})),
      at_restart<S>(field<S>(
          "access_log", [](S& s) -> auto& { return s.gateway.access_log; },
          "A file that gets a line for each request; \"-\": the standard output; \"\": none.")),
      at_restart<S>(
          field<S>("registry", [](S& s) -> auto& { return s.gateway.registry; },
                   "Where the gateway registers itself, so that clients find it: "
                   "\"consul:http://HOST:PORT/SERVICE\" or \"etcd:http://HOST:PORT/PREFIX\"; \"\": "
                   "nowhere.",
                   {.check = check_registry})),
      at_restart<S>(field<S>("advertise", [](S& s) -> auto& { return s.gateway.advertise; },
                             "Its own address there, HOST:PORT; \"\": listen.",
                             {.check = check_advertised})),
      at_restart<S>(field<S>("registry_ttl", [](S& s) -> auto& { return s.gateway.registry_ttl; },
                             "Without a renewal the entry lapses after so long; whole seconds.",
                             {.above = true})),
      field<S>("max_connections", [](S& s) -> auto& { return s.gateway.max_connections; },
               "Clients at once; more are answered with 503.", {.min = 1}),
      field<S>("max_header", [](S& s) -> auto& { return s.gateway.max_header; },
               "Bytes of a request's header, and of a response's.", {.min = 1024, .max = 1 << 20}),
      field<S>(
          "max_body", [](S& s) -> auto& { return s.gateway.max_body; },
          "Bytes of a request's body; more are answered with 413."),
      field<S>("header_timeout", [](S& s) -> auto& { return s.gateway.header_timeout; },
               "From a request's first byte to the end of its header.", {.above = true}),
      field<S>("body_timeout", [](S& s) -> auto& { return s.gateway.body_timeout; },
               "Between two parts of a body, either way.", {.above = true}),
      field<S>("idle_timeout", [](S& s) -> auto& { return s.gateway.idle_timeout; },
               "A client's connection without a request is closed.", {.above = true}),
      field<S>("connect_timeout", [](S& s) -> auto& { return s.gateway.connect_timeout; },
               "To connect to a backend.", {.above = true}),
      field<S>("response_timeout", [](S& s) -> auto& { return s.gateway.response_timeout; },
               "From a request's end to the header of the backend's response.", {.above = true}),
      field<S>("tunnel_timeout", [](S& s) -> auto& { return s.gateway.tunnel_timeout; },
               "An upgraded connection (WebSocket) without a byte either way is closed.",
               {.above = true}),
      field<S>(
          "drain_timeout", [](S& s) -> auto& { return s.gateway.drain_timeout; },
          "After SIGTERM, requests have so long to end."),
      field<S>(
          "leave_delay", [](S& s) -> auto& { return s.gateway.leave_delay; },
          "After its entry was taken back, new clients are still served for so long."),
      field<S>(
          "backend_idle", [](S& s) -> auto& { return s.gateway.backend_idle; },
          "A backend's connection without a request is closed; less than the backend's own "
          "limit."),
      field<S>(
          "max_idle", [](S& s) -> auto& { return s.gateway.max_idle; },
          "Connections without a request that are kept per backend and thread."),
      field<S>(
          "queue_timeout", [](S& s) -> auto& { return s.gateway.queue_timeout; },
          "How long a request waits while every backend is at its limit; \"0s\": it is "
          "answered with 503 at once."),
      choice<S>("forwarded", [](S& s) -> auto& { return s.gateway.forwarded; },
                "Which fields tell backends of the client: X-Forwarded-For, -Proto and -Host, or "
                "Forwarded.",
                {"none", "x-forwarded", "forwarded", "both"}),
      field<S>(
          "trust_forwarded", [](S& s) -> auto& { return s.gateway.trust_forwarded; },
          "Add to such fields of the client instead of removing them: only behind a proxy of "
          "yours."),
      field<S>("route_key", [](S& s) -> auto& { return s.gateway.route_key; },
               "What keyed policies hash: \"client\" (its address), \"path\", \"target\", "
               "\"field:NAME\" or \"cookie:NAME\"; \"\": nothing.",
               {.check = check_route_key}),
  };
  return {{"gateway", "The reverse proxy examples/gateway; other programs ignore it.",
           std::move(fields)}};
}

}  // namespace detail

/// All sections, in the order of the reference.
[[nodiscard]] inline std::vector<Section> const& sections() {
  static std::vector<Section> const all = [] {
    std::vector<Section> result{detail::top_section()};
    auto const add = [&](std::vector<Section> more) {
      for (auto& each : more) result.push_back(std::move(each));
    };
    add(detail::health_sections());
    add(detail::criteria_sections());
    add({detail::probe_section(), detail::retry_section()});
    add(detail::limits_sections());
    add({detail::load_reports_section()});
    add(detail::discovery_sections());
    add(detail::telling_sections());
    add(detail::gateway_sections());
    return result;
  }();
  return all;
}

/// "health.ejection.base"
[[nodiscard]] inline std::string path_of(std::string_view section, std::string_view key) {
  return section.empty() ? std::string{key} : std::string{section}.append(".").append(key);
}

}  // namespace poise::inline v0_1_0::config
