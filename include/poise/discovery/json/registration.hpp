// SPDX-License-Identifier: MIT
#pragma once

// A server's own entry in a registry, as conversations: register, renew, verify, leave.
//
// A renewal that finds the entry gone (a registry that was restarted, a lease that ended while this
// process was stopped) registers from scratch. The answer of a look is the entry itself; so the
// timing, the backoff and the events are those of any source (discovery/follower.hpp).
// curl/registration.hpp runs it.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <poise/base/address.hpp>
#include <poise/base/check.hpp>
#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/etcd.hpp>
#include <poise/discovery/json/reader.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery::json {

/// What others find: `endpoint` under `service`.
struct Entry {
  std::string service{};
  Endpoint endpoint{};                      ///< Weight, zone and labels are registered, too.
  Duration ttl = std::chrono::seconds{10};  ///< Without a renewal the entry lapses; whole seconds.
};

/// Whether the entry is there, shared by the thread that keeps it and the one that leaves.
class Presence {
 public:
  void set(bool present) {
    std::scoped_lock const lock{mutex_};
    present_ = present;
    changed_.notify_all();
  }
  void set_left() {
    std::scoped_lock const lock{mutex_};
    present_ = false;
    left_ = true;
    changed_.notify_all();
  }
  void ask_to_leave() {
    std::scoped_lock const lock{mutex_};
    leaving_ = true;
  }
  [[nodiscard]] bool leaving() const {
    std::scoped_lock const lock{mutex_};
    return leaving_;
  }
  [[nodiscard]] bool present() const {
    std::scoped_lock const lock{mutex_};
    return present_;
  }
  /// False if the time was not enough.
  bool wait_until_present(Duration time) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, bounded(time), [&] { return present_; });
  }
  bool wait_until_left(Duration time) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, bounded(time), [&] { return left_; });
  }

 private:
  /// A time that can be added to that of any clock: Duration::max() is a year.
  static Duration bounded(Duration time) {
    return std::min<Duration>(time, std::chrono::hours{24 * 365});
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool present_ = false;
  bool leaving_ = false;
  bool left_ = false;
};

/// What registrations share: register if need be, else renew; or leave.
class EntryConversation : public Conversation {
 public:
  /// *Errors* ConfigError: an address that others can't use, no service, a TTL below a second.
  explicit EntryConversation(Entry entry) : entry_{std::move(entry)} {
    auto& endpoint = entry_.endpoint;
    if (endpoint.id.empty()) endpoint.id = endpoint.address;
    if (auto const error = discovery::detail::address_error(endpoint.address); !error.empty())
      throw ConfigError{"the address to register, " + poise::detail::in_quotes(endpoint.address) +
                        ", " + std::string{error}};
    if (entry_.service.empty())
      poise::detail::reject_option("service of Entry", "empty", "name it");
    if (entry_.ttl < std::chrono::seconds{1})
      poise::detail::reject_option("ttl of Entry", poise::detail::in_words(entry_.ttl),
                                   "use 1 s or more");
  }

  [[nodiscard]] Entry const& entry() const noexcept { return entry_; }
  [[nodiscard]] std::shared_ptr<Presence> presence() const noexcept { return presence_; }

  [[nodiscard]] Request begin() final {
    if (presence_->leaving()) return leave();
    return presence_->present() ? renew() : enter();
  }
  [[nodiscard]] Step on_answer(Answer const& answer) final {
    auto step = take(answer);
    if (step.look && std::holds_alternative<Failed>(*step.look)) return step;
    if (presence_->leaving() && !step.look && step.next) return {{}, leave()};
    return step;
  }

 protected:
  [[nodiscard]] virtual Request enter() = 0;
  [[nodiscard]] virtual Request renew() = 0;
  [[nodiscard]] virtual Request leave() = 0;
  [[nodiscard]] virtual Step take(Answer const& answer) = 0;

  [[nodiscard]] std::int64_t ttl_seconds() const {
    return std::chrono::ceil<std::chrono::seconds>(entry_.ttl).count();
  }
  /// The entry is there. If that was the last thing to know, it leaves when asked.
  [[nodiscard]] Step entered() {
    presence_->set(true);
    if (presence_->leaving()) return {{}, leave()};
    return {Found{.endpoints = {entry_.endpoint}, .good_for = entry_.ttl / 3}, {}};
  }
  /// Left, or never there. Without the right to leave (401, 403), or when the registry had no time
  /// for the request (408, 429), it is still there.
  [[nodiscard]] static bool is_over(Answer const& answer) {
    if (answer.status == 200) return true;
    constexpr int still_there[] = {401, 403, 408, 429};
    return answer.status >= 400 && answer.status < 500 &&
           std::ranges::find(still_there, answer.status) == std::end(still_there);
  }
  /// The registry does not know it any more.
  [[nodiscard]] Step lost() {
    presence_->set(false);
    return {{}, enter()};
  }
  [[nodiscard]] Step left() {
    presence_->set_left();
    return {Found{.endpoints = {entry_.endpoint}, .good_for = Duration::max()}, {}};
  }

 private:
  Entry entry_;
  std::shared_ptr<Presence> presence_ = std::make_shared<Presence>();
};

/// An entry of Consul's agent with a TTL check. Consul drops it a minute after it lapsed.
class ConsulEntry final : public EntryConversation {
 public:
  /// The token is sent as X-Consul-Token, and asked for before each request.
  explicit ConsulEntry(Entry entry, std::function<std::string()> token = {})
      : EntryConversation{std::move(entry)}, token_{std::move(token)} {}

  [[nodiscard]] std::string name() const override {
    return "registration of " + id() + " with consul";
  }

 private:
  enum class State : std::uint8_t { entering, renewing, leaving };

  [[nodiscard]] std::string id() const { return entry().service + "-" + entry().endpoint.id; }
  [[nodiscard]] Request put(State state, std::string target, std::string body = {}) {
    state_ = state;
    Request request{.method = "PUT", .target = std::move(target), .body = std::move(body)};
    request.add_token("X-Consul-Token: ", token_);
    return request;
  }
  [[nodiscard]] Request enter() override {
    auto const& endpoint = entry().endpoint;
    auto const address = HostPort::of(endpoint.address);
    Json meta = Json::object();
    if (!endpoint.zone.empty()) meta["zone"] = endpoint.zone;
    for (auto const& label : endpoint.labels) meta[label.key] = label.value;
    Json const body{{"ID", id()},
                    {"Name", entry().service},
                    {"Address", address ? address->host : endpoint.address},
                    {"Port", address ? address->port : 0},
                    {"Meta", meta},
                    {"Weights", {{"Passing", endpoint.weight}, {"Warning", 1}}},
                    {"Check",
                     {{"CheckID", "service:" + id()},
                      {"TTL", std::to_string(ttl_seconds()) + "s"},
                      {"Status", "passing"},  // else it starts critical
                      {"DeregisterCriticalServiceAfter", "1m"}}}};
    return put(State::entering, "/v1/agent/service/register", body.dump());
  }
  [[nodiscard]] Request renew() override {
    return put(State::renewing, "/v1/agent/check/pass/" + url_encoded("service:" + id()));
  }
  [[nodiscard]] Request leave() override {
    return put(State::leaving, "/v1/agent/service/deregister/" + url_encoded(id()));
  }
  [[nodiscard]] Step take(Answer const& answer) override {
    if (state_ == State::leaving && is_over(answer)) return left();
    // 1.8 says 500 for a check that it does not know, newer ones 404.
    bool const unknown = answer.status == 404 ||
                         answer.body.find("does not have associated TTL") != std::string::npos ||
                         answer.body.find("nknown check") != std::string::npos;
    if (state_ == State::renewing && unknown) return lost();
    if (answer.status != 200) return {failure(answer), {}};
    return entered();
  }

  std::function<std::string()> token_;
  State state_ = State::entering;
};

/// A key of etcd with a lease: `service` is the prefix, the endpoint's id ends the key.
class EtcdEntry final : public EntryConversation {
 public:
  explicit EtcdEntry(Entry entry, EtcdOptions options = {})
      : EntryConversation{std::move(entry)}, options_{std::move(options)} {}

  [[nodiscard]] std::string name() const override {
    return "registration of " + key() + " with etcd";
  }

 private:
  enum class State : std::uint8_t { authenticating, granting, putting, renewing, reading, leaving };

  [[nodiscard]] std::string key() const { return entry().service + entry().endpoint.id; }
  [[nodiscard]] Request post(State state, char const* target, Json const& body) {
    state_ = state;
    Request request{.method = "POST", .target = target, .body = body.dump()};
    if (!token_.empty()) request.headers.push_back("Authorization: " + token_);
    return request;
  }
  [[nodiscard]] Request enter() override {
    if (options_.user.empty()) return grant();
    token_.clear();
    return post(State::authenticating, "/v3/auth/authenticate",
                {{"name", options_.user},
                 {"password", options_.password ? options_.password() : std::string{}}});
  }
  [[nodiscard]] Request grant() {
    return post(State::granting, "/v3/lease/grant", {{"TTL", std::to_string(ttl_seconds())}});
  }
  [[nodiscard]] Request put() {
    return post(State::putting, "/v3/kv/put",
                {{"key", detail::base64(key())},
                 {"value", detail::base64(to_line(entry().endpoint))},
                 {"lease", lease_}});
  }
  [[nodiscard]] Request renew() override {
    return post(State::renewing, "/v3/lease/keepalive", {{"ID", lease_}});
  }
  [[nodiscard]] Request read() {
    return post(State::reading, "/v3/kv/range", {{"key", detail::base64(key())}});
  }
  [[nodiscard]] Request leave() override {
    return post(State::leaving, "/v3/lease/revoke", {{"ID", lease_}});
  }

  [[nodiscard]] Step take(Answer const& answer) override {
    if (state_ == State::leaving && is_over(answer)) return left();
    // Put with a dead lease; and a token that expired.
    if (answer.status == 404 || (answer.status == 401 && !token_.empty() && renewing()))
      return lost();
    if (answer.status != 200) return {failure(answer), {}};
    return guarded([&] { return understand(parse(answer.body)); });
  }
  [[nodiscard]] bool renewing() const {
    return state_ == State::renewing || state_ == State::reading;
  }
  [[nodiscard]] Step understand(Json const& json) {
    switch (state_) {
      case State::authenticating: token_ = text_at(json, "token"); return {{}, grant()};
      case State::granting:
        lease_ = text_at(json, "ID");
        if (lease_.empty()) throw JsonError{wrong("the lease", json, "it has no ID")};
        return {{}, put()};
      case State::putting: return entered();
      case State::renewing:  // a dead lease answers 200, without a TTL
        if (find(json, "result", "TTL") == nullptr) return lost();
        return {{}, read()};
      case State::reading:  // deleted by someone, while the lease lives
        if (find(json, "kvs") == nullptr) return {{}, put()};
        return entered();
      case State::leaving: return left();
    }
    return {};
  }

  EtcdOptions options_;
  State state_ = State::granting;
  std::string token_{};
  std::string lease_{};
};

}  // namespace poise::inline v0_1_0::discovery::json
