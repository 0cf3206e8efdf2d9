// SPDX-License-Identifier: MIT

#include "gateway.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/base/ascii.hpp>
#include <poise/config/diff.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

#include "admin.hpp"

namespace gateway {

namespace {

namespace config = poise::config;

/// The service has no server for pages: the gateway has, with more of them.
config::Document without_pages(config::Document document) {
  document.settings.metrics.listen.clear();
  return document;
}

/// A name as a token, which is all that Via may contain.
std::string token_of(std::string name) {
  std::ranges::replace_if(
      name,
      [](char c) {
        return !poise::detail::is_letter_or_digit(c) &&
               std::string_view{"-_."}.find(c) == std::string_view::npos;
      },
      '-');
  return name;
}

std::unique_ptr<AccessLog> access_log_of(std::string const& path) {
  return path.empty() ? nullptr : std::make_unique<AccessLog>(path);
}

std::unique_ptr<poise::status::Server> serve(poise::observe::Handler handler,
                                             std::string const& address) {
  auto const [host, port] = poise::detail::split_port(address);
  std::string ip{host};
  if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
  return std::make_unique<poise::status::Server>(
      std::move(handler),
      poise::status::ServerOptions{
          .address = ip, .port = static_cast<std::uint16_t>(std::stoul(std::string{port}))});
}

}  // namespace

Gateway::Gateway(config::Document const& document, Log log)
    : settings_{document.settings},
      listener_{settings_.gateway.listen},
      access_log_{access_log_of(settings_.gateway.access_log)},
      workers_{make_workers()},
      service_{without_pages(document),
               [this](poise::Endpoint const& endpoint) { return make_upstream(endpoint); },
               [&] {
                 shared_.log = std::move(log);
                 shared_.via = token_of(settings_.name);
                 return parts();
               }()} {
  if (!settings_.metrics.listen.empty())
    admin_ = serve(admin_pages(service_, shared_), settings_.metrics.listen);
  if (!settings_.gateway.registry.empty()) register_entry();
  try {
    for (auto const& each : workers_) each->start(service_);
  } catch (...) {
    end_workers();
    throw;
  }
}

Gateway::~Gateway() { end_workers(); }

void Gateway::end_workers() {
  for (auto const& each : workers_) each->abort();
  for (auto const& each : workers_) each->join();
}

config::Parts Gateway::parts() {
  auto parts = network_.parts();
  parts.log = shared_.log;
  return parts;
}

std::vector<std::unique_ptr<Worker>> Gateway::make_workers() {
  auto const wanted = settings_.gateway.threads;
  auto const count = wanted != 0 ? wanted : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::uint32_t i = 0; i < count; ++i)
    workers.push_back(std::make_unique<Worker>(listener_.duplicate(), listener_.is_v6(),
                                               settings_.gateway, access_log_.get(), shared_));
  return workers;
}

std::shared_ptr<Upstream> Gateway::make_upstream(poise::Endpoint const& endpoint) {
  return std::make_shared<Upstream>(endpoint, ++upstreams_,
                                    [this](std::uint64_t number) { forget(number); });
}

void Gateway::forget(std::uint64_t upstream) {
  for (auto const& each : workers_) each->forget(upstream);
}

config::Reload Gateway::reload(config::Document document) {
  config::Reload result;
  if (document.valid())
    for (auto const& each : config::differences(settings_, document.settings))
      if (each.path.starts_with("metrics.") || each.path == "name")
        result.problems.push_back({document.place_of(each.path),
                                   each.path + " changes at a restart of the gateway only; nothing "
                                               "was changed"});
  if (!result.done()) return result;
  result = service_.reload(without_pages(document));
  if (!result.done()) return result;
  settings_ = document.settings;
  for (auto const& each : workers_) each->set(settings_.gateway);
  return result;
}

void Gateway::drain() {
  for (auto const& each : workers_) each->drain();
  listener_.close();
}

bool Gateway::finished() const {
  return std::ranges::all_of(workers_, [](auto const& each) { return each->ended(); });
}

void Gateway::register_entry() {
  namespace discovery = poise::discovery;
  auto const& own = settings_.gateway;
  auto const address = own.advertise.empty() ? listener_.address() : own.advertise;
  if (own.advertise.empty() && listener_.is_unspecified())
    throw poise::ConfigError{"gateway.registry needs gateway.advertise: clients can't connect to " +
                             address};
  auto named = discovery::entry_named(
      own.registry, {.endpoint = {.id = address, .address = address}, .ttl = own.registry_ttl},
      config::credentials_of(settings_.credentials));
  entry_ = std::make_unique<Entry>(std::move(named),
                                   [log = shared_.log](auto const& source, auto const& event) {
                                     if (event.kind != discovery::Event::Kind::applied)
                                       log(source + ": " + event.text);
                                   });
}

bool Gateway::leave_registry() {
  if (!entry_) return false;
  if (!entry_->registration.leave(std::chrono::seconds{2}))
    shared_.log("the registry did not confirm that the entry is gone; it lapses");
  return true;
}

Duration Gateway::leave_delay() const { return settings_.gateway.leave_delay; }

Duration Gateway::drain_timeout() const { return settings_.gateway.drain_timeout; }

}  // namespace gateway
