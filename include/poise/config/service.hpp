// SPDX-License-Identifier: MIT
#pragma once

// A balancer that runs as a configuration says: with its monitor, limits, meter, source, probes,
// pages and alerts; and reloads.
//
//   poise::config::Service service{poise::config::read_file("web.toml")};
//   auto lease = service.balancer().pick();
//   ...
//   auto const done = service.reload(poise::config::read_file("web.toml"));
//   for (auto const& each : done.problems) log(message("web.toml", each));
//
// A reload is all or nothing: whatever is wrong, the old configuration stays in force, and requests
// notice nothing. Statistics, health, drains and payloads of backends whose id stays are kept.
// What did not change is not touched: the same policy goes on with what it learned, the same source
// is not asked again, pages stay where they are.

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/analysis/pages.hpp>
#include <poise/balancer.hpp>
#include <poise/base/address.hpp>
#include <poise/base/files.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/policy_named.hpp>
#include <poise/config/alert_watch.hpp>
#include <poise/config/diff.hpp>
#include <poise/config/document.hpp>
#include <poise/config/limits.hpp>
#include <poise/config/load_reports.hpp>
#include <poise/config/node.hpp>
#include <poise/config/pages.hpp>
#include <poise/config/parts.hpp>
#include <poise/config/policy_text.hpp>
#include <poise/config/settings.hpp>
#include <poise/discovery/credentials.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/feed.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/page.hpp>
#include <poise/observe/reader.hpp>
#include <poise/runtime.hpp>
#include <poise/ticker.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

/// What a reload did, or would do.
struct Reload {
  std::vector<Problem> problems{};  ///< With any, nothing was changed.
  std::vector<Difference> changes{};

  [[nodiscard]] bool done() const noexcept { return problems.empty(); }
};

namespace detail {

/// Is any of these fields another one?
[[nodiscard]] inline bool changes_in(std::vector<Difference> const& changes,
                                     std::initializer_list<std::string_view> tables) {
  return std::ranges::any_of(changes, [&](Difference const& each) {
    return std::ranges::any_of(tables, [&](std::string_view table) {
      auto const rest =
          std::string_view{each.path}.substr(std::min(table.size(), each.path.size()));
      return each.path.starts_with(table) && (rest.empty() || rest.starts_with('.'));
    });
  });
}

/// The problems as one text, a line each.
[[nodiscard]] inline std::string joined(std::vector<Problem> const& problems) {
  std::string text;
  for (auto const& each : problems)
    text += (text.empty() ? "" : "\n") + message("configuration", each);
  return text;
}

/// Runs one step of building; what it throws becomes a problem at this place.
template <class Step>
void attempt(std::vector<Problem>& problems, Position at, Step const& step) {
  try {
    step();
  } catch (std::exception const& error) {
    problems.push_back({at, error.what()});
  }
}

/// What a reload has to do again.
struct Scope {
  bool policy = true;
  bool health = true;
  bool backends = true;
  bool source = true;
  bool probes = true;
  bool server = true;
  bool pages = true;
  bool alerts = true;

  [[nodiscard]] static Scope of(std::vector<Difference> const& changes) {
    return {.policy = changes_in(changes, {"policy", "retry"}),
            .health = changes_in(changes, {"health"}),
            .backends = changes_in(changes, {"backends", "source"}),
            .source = changes_in(changes, {"source", "discovery"}),
            .probes = changes_in(changes, {"probe"}),
            .server = changes_in(changes, {"metrics.listen"}),
            .pages = changes_in(changes, {"metrics", "name"}),
            .alerts = changes_in(changes, {"alerts"})};
  }
};

/// The host of "host:port", with the brackets of IPv6.
[[nodiscard]] inline std::string host_of(std::string_view address) {
  return std::string{poise::detail::split_port(address).host};
}

}  // namespace detail

/// For registries. Each secret is read when it is asked for.
[[nodiscard]] inline discovery::Credentials credentials_of(CredentialSettings const& settings) {
  auto const secret = [](std::string const& path) -> std::function<std::string()> {
    if (path.empty()) return {};
    return [path] { return poise::detail::secret_of(path); };
  };
  return {.token = secret(settings.token_file),
          .user = settings.user,
          .password = secret(settings.password_file)};
}

/// *Threads* any. *Errors* of the constructor: ConfigError, with all problems of the document and
/// of what could not be built.
/// @tparam Payload a value per backend, a connection pool say; void for none
template <class Payload = void>
class Service {
 public:
  using Runtime =
      poise::Runtime<CycleClock, health::Standard, Limits, LoadReports, observe::Meter<>>;
  using Balancer = poise::Balancer<AnyPolicy, Payload, Runtime>;

  explicit Service(Document const& document, Parts parts = {})
    requires(std::is_void_v<Payload>)
      : Service{Private{}, document, {}, std::move(parts)} {}
  /// With a payload per backend, made by `make`; see Balancer.
  Service(Document const& document, Factory<Payload> make, Parts parts = {})
    requires(!std::is_void_v<Payload>)
      : Service{Private{}, document, std::move(make), std::move(parts)} {}
  Service(Service const&) = delete;
  Service& operator=(Service const&) = delete;
  ~Service() = default;

  [[nodiscard]] Balancer& balancer() noexcept { return balancer_; }
  [[nodiscard]] health::Standard const& monitor() const noexcept { return monitor_; }
  /// What is in force.
  [[nodiscard]] Document document() const {
    std::scoped_lock const lock{mutex_};
    return document_;
  }
  /// Of the source; empty without one.
  [[nodiscard]] std::vector<discovery::Status> source_status() const {
    auto const source = this->source();
    return source ? source->status() : std::vector<discovery::Status>{};
  }

  /// What [metrics] serves, for a server of yours: the live page, /metrics, /json, /text, /healthz,
  /// /explain and /why/ID. They follow reloads. *Requires* that the service outlives the handler,
  /// and that the server runs its tasks(), as status::Server does.
  [[nodiscard]] observe::Handler pages(observe::HandlerOptions options = {}) const {
    return detail::forwarding(pages_, std::move(options));
  }

  /// Puts another configuration in force, or says why not. Reloads wait for each other, and
  /// requests for none. *Requires* that no callback or factory of this service calls it.
  Reload reload(Document document) {
    std::scoped_lock const lock{mutex_};
    auto result = compare(document);
    if (!result.done()) return result;
    auto const scope = detail::Scope::of(result.changes);
    if (scope.health)  // before probes are made, which look at the monitor's numbers
      detail::attempt(result.problems, document.place_of("health"),
                      [&] { set_health(document.settings.health); });
    auto prepared = prepare(document, scope, true, result.problems);
    if (result.done())
      detail::attempt(result.problems, document.place_of("backends"),
                      [&] { exchange(document, scope, std::move(prepared.policy)); });
    if (!result.done()) {
      if (scope.health) set_health(document_.settings.health);
      return result;
    }
    start(document.settings, scope, std::move(prepared));
    document_ = std::move(document);
    return result;
  }

  /// What reload() would do. Builds everything but what shows outside: no payload is made, no
  /// probe is sent, and no port is opened.
  [[nodiscard]] Reload dry_run(Document const& document) {
    std::scoped_lock const lock{mutex_};
    auto result = compare(document);
    if (result.done())
      (void)prepare(document, detail::Scope::of(result.changes), false, result.problems);
    return result;
  }

 private:
  struct Private {
    explicit Private() = default;
  };
  using Source = discovery::Watcher::Handle;

  /// What was built, and is not yet in force.
  struct Prepared {
    std::optional<AnyPolicy> policy{};
    std::unique_ptr<discovery::Feed> feed{};
    std::shared_ptr<void> probes{};
    std::shared_ptr<void> server{};
    std::shared_ptr<AlertWatch> alerts{};
  };

  Service(Private, Document const& document, Factory<Payload> make, Parts parts)
      : parts_{std::move(parts)},
        document_{checked(document)},
        monitor_{monitor_of(document.settings.health)},
        limits_{document.settings.limits},
        load_reports_{document.settings.load_reports},
        balancer_{balancer_of(document.settings, std::move(make))} {
    std::vector<Problem> problems;
    auto prepared = prepare(document, {}, true, problems);
    if (!problems.empty()) throw ConfigError{detail::joined(problems)};
    start(document.settings, {}, std::move(prepared));
    ticking_ = ticker_.watch(balancer_);
  }

  static Document checked(Document const& document) {
    if (!document.valid()) throw ConfigError{detail::joined(document.problems)};
    return document;
  }
  void set_health(HealthSettings const& settings) {
    monitor_.set(settings.monitor, settings.consecutive, settings.failure_rate,
                 settings.success_rate, settings.latency, settings.rejections);
  }
  health::Standard monitor_of(HealthSettings const& settings) {
    auto options = settings.monitor;
    options.log = [this](health::Transition const& transition) { log(message(transition)); };
    return {std::move(options),    settings.consecutive, settings.failure_rate,
            settings.success_rate, settings.latency,     settings.rejections};
  }
  Balancer balancer_of(Settings const& settings, [[maybe_unused]] Factory<Payload> make) {
    Runtime runtime{.observers = {monitor_, limits_, load_reports_, observe::Meter<>{}}};
    auto policy = policy_named(policy_text(settings));
    if constexpr (std::is_void_v<Payload>)
      return Balancer{settings.backends, std::move(policy), std::move(runtime)};
    else return Balancer{settings.backends, std::move(make), std::move(policy), std::move(runtime)};
  }

  /// What differs from what is in force. Fields that can't change are problems, too.
  Reload compare(Document const& document) const {
    Reload result{.problems = document.problems};
    if (!result.done()) return result;
    result.changes = differences(document_.settings, document.settings);
    for (auto const& each : result.changes)
      if (each.effect == Effect::restart)
        result.problems.push_back(
            {document.place_of(each.path), each.path + " is " + each.after + ", but runs with " +
                                               each.before +
                                               ": it changes at a restart only; nothing was "
                                               "changed"});
    return result;
  }

  Prepared prepare(Document const& document, detail::Scope const& scope, bool starts,
                   std::vector<Problem>& problems) {
    auto const& settings = document.settings;
    Prepared result;
    if (scope.policy)
      detail::attempt(problems, document.place_of("policy"),
                      [&] { result.policy = policy_named(policy_text(settings)); });
    if (scope.source && !settings.source.empty())
      detail::attempt(problems, document.place_of("source"),
                      [&] { result.feed = feed_of(settings); });
    if (scope.probes && settings.probe.kind != ProbeKind::none)
      detail::attempt(problems, document.place_of("probe.kind"),
                      [&] { result.probes = probes_of(settings.probe, starts); });
    if (scope.server && !settings.metrics.listen.empty())
      detail::attempt(problems, document.place_of("metrics.listen"),
                      [&] { result.server = server_of(settings.metrics, starts); });
    if (scope.alerts && settings.alerts.enabled)
      detail::attempt(problems, document.place_of("alerts"), [&] {
        result.alerts = std::make_shared<AlertWatch>(
            settings.alerts, [this](std::string const& line) { log(line); });
      });
    return result;
  }

  std::unique_ptr<discovery::Feed> feed_of(Settings const& settings) {
    auto options = settings.discovery;
    options.log = [this](std::string const& source, discovery::Event const& event) {
      log(source + ": " + std::string{name(event.kind)} + ": " + event.text);
    };
    return std::make_unique<discovery::Feed>(
        parts_.source(settings.source, credentials_of(settings.credentials)),
        discovery::into(balancer_), options);
  }
  std::shared_ptr<void> probes_of(ProbeSettings const& settings, bool starts) {
    if (!parts_.probes)
      throw ConfigError{
          "this program can't probe; use probe.kind = \"none\", or give it "
          "Parts::probes"};
    if (!starts) return {};
    return parts_.probes({[this] { return balancer_.stats(); }, [this] { balancer_.tick(); },
                          [this](std::string about, std::string text) {
                            balancer_.set_warning(std::move(about), std::move(text));
                          }},
                         monitor_, settings);
  }
  std::shared_ptr<void> server_of(MetricsSettings const& settings, bool starts) {
    if (!parts_.pages)
      throw ConfigError{
          "this program has no server for pages; remove metrics.listen, or give it "
          "Parts::pages"};
    if (!starts) return {};
    return parts_.pages(pages({.hosts = {detail::host_of(settings.listen)}}), settings);
  }

  /// Backends and policy: both, or neither. What a payload's factory throws comes first.
  void exchange(Document const& document, detail::Scope const& scope,
                std::optional<AnyPolicy> policy) {
    auto const& backends = document.settings.backends;
    auto const& old = document_.settings.backends;
    bool const updates = scope.backends && !backends.empty();
    if (updates) balancer_.update(backends);
    if (!policy) return;
    try {
      balancer_.set_policy(*std::move(policy));
    } catch (...) {  // memory ran out
      if (updates && !old.empty()) balancer_.update(old);
      throw;
    }
  }

  /// What can no longer be refused.
  void start(Settings const& settings, detail::Scope const& scope, Prepared prepared) {
    limits_.set(settings.limits);
    load_reports_.set(settings.load_reports);
    balancer_.set_max_waiting(settings.limits.max_waiting);
    if (scope.source) follow(settings, std::move(prepared.feed));
    if (scope.probes) probes_ = std::move(prepared.probes);
    if (scope.pages) pages_->set(pages_of(settings));
    if (scope.server) server_ = std::move(prepared.server);
    if (scope.alerts) watch(prepared.alerts, reader_of(settings));
  }

  void follow(Settings const& settings, std::unique_ptr<discovery::Feed> feed) {
    std::shared_ptr<Source> fresh;
    if (feed) fresh = std::make_shared<Source>(watcher_.follow(std::move(feed)));
    {
      std::scoped_lock const lock{source_mutex_};
      std::swap(source_, fresh);
    }
    bool const followed = fresh != nullptr;
    fresh.reset();  // waits for its last list
    if (followed && !settings.backends.empty()) balancer_.update(settings.backends);
  }

  /// All readers of a meter share their options.
  [[nodiscard]] std::shared_ptr<observe::Reader> reader_of(Settings const& settings) const {
    return std::make_shared<observe::Reader>(
        settings.name, balancer_,
        observe::ReaderOptions{.cap = settings.metrics.series,
                               .histograms = settings.metrics.histograms});
  }

  [[nodiscard]] observe::Handler pages_of(Settings const& settings) const {
    observe::Handler handler;
    observe::Metrics const metrics{.readers = {reader_of(settings)}};
    observe::add_metrics(handler, metrics);
    observe::add_page(handler, metrics, {.notices = [this](auto const&) { return notices(); }});
    analysis::add_explanations(handler, balancer_, monitor_);
    return handler;
  }
  /// The alerts, as the live page shows them.
  [[nodiscard]] std::vector<observe::Notice> notices() const {
    std::scoped_lock const lock{alerts_mutex_};
    return alerts_ ? alerts_->notices() : std::vector<observe::Notice>{};
  }

  void watch(std::shared_ptr<AlertWatch> const& alerts,
             std::shared_ptr<observe::Reader const> const& reader) {
    {
      std::scoped_lock const lock{alerts_mutex_};
      alerts_ = alerts;
    }
    if (!alerts) return void(watching_ = {});
    watching_ = ticker_.every(std::chrono::seconds{1}, [this, alerts, reader] {
      std::optional<Duration> age;
      for (auto const& each : source_status()) age = each.age;
      alerts->update(reader->read(), age);
    });
  }

  std::shared_ptr<Source> source() const {
    std::scoped_lock const lock{source_mutex_};
    return source_;
  }
  void log(std::string const& line) const {
    if (parts_.log) parts_.log(line);
  }

  Parts parts_;
  mutable std::mutex mutex_;  // of reloads
  Document document_;
  health::Standard monitor_;
  Limits limits_;
  LoadReports load_reports_;
  Balancer balancer_;
  std::shared_ptr<detail::Pages> pages_ = std::make_shared<detail::Pages>();
  mutable std::mutex source_mutex_;  // of source_, which alerts read during reloads
  std::shared_ptr<Source> source_{};
  mutable std::mutex alerts_mutex_;  // of alerts_, which pages read during reloads
  std::shared_ptr<AlertWatch> alerts_{};
  // What follows uses what stands above, and ends before it.
  Ticker ticker_{};
  discovery::Watcher watcher_{};
  std::shared_ptr<void> probes_{};
  std::shared_ptr<void> server_{};
  Ticker::Handle ticking_{};
  Ticker::Handle watching_{};
};

Service(Document const&) -> Service<void>;
Service(Document const&, Parts) -> Service<void>;

}  // namespace poise::inline v0_1_0::config
