// SPDX-License-Identifier: MIT
#pragma once

// Carries a conversation (json/conversation.hpp) over HTTP by libcurl, without blocking.
//
// TLS certificates and names are verified; redirects are not followed; sizes are limited; what a
// URL or a header holds of secrets stands in no message.

#include <curl/curl.h>
#include <poll.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <poise/base/saturating.hpp>
#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/source.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

struct HttpOptions {
  std::string ca_file{};      ///< Certificates to trust, instead of the system's.
  std::string client_cert{};  ///< A certificate of the client's own, and its key.
  std::string client_key{};
  Duration connect_timeout = std::chrono::seconds{3};
  std::size_t max_answer = std::size_t{64} << 20U;  ///< Bytes of one answer, or of one line.
  /// Two lists of a stream are so far apart: events in between are one list.
  Duration gather = std::chrono::milliseconds{50};
};

namespace detail {

// CURL and CURLM are void, so each has a deleter of its own.
struct EasyDeleter {
  void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
};
struct HeadersDeleter {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};

/// One HTTP exchange; the owner's multi handle moves it.
class Exchange {
 public:
  /// Called with each whole line of a stream.
  using Line = std::function<void(std::string_view)>;

  Exchange(std::string const& base, json::Request const& request, HttpOptions const& options,
           Line line)
      : handle_{curl_easy_init()},
        line_{std::move(line)},
        max_{options.max_answer},
        streams_{request.streams} {
    if (!handle_) throw std::bad_alloc{};
    set_request(base, request);
    set_limits(request, options);
  }
  Exchange(Exchange const&) = delete;
  Exchange& operator=(Exchange const&) = delete;

  [[nodiscard]] CURL* handle() const noexcept { return handle_.get(); }
  /// What came, once it is complete.
  [[nodiscard]] json::Answer& answer() {
    long status = 0;
    curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
    answer_.status = static_cast<int>(status);
    return answer_;
  }
  /// Why it failed, for people.
  [[nodiscard]] std::string error(CURLcode code) const {
    if (too_large_) return "the answer has more than " + std::to_string(max_) + " bytes";
    return curl_easy_strerror(code);
  }

 private:
  template <class Value>
  void set(CURLoption option, Value value) {
    if (curl_easy_setopt(handle_.get(), option, value) != CURLE_OK)
      throw ConfigError{"libcurl refused option " + std::to_string(static_cast<int>(option)) +
                        ": is it older than 7.85?"};
  }
  static long milliseconds(Duration time) {
    return static_cast<long>(std::chrono::ceil<std::chrono::milliseconds>(time).count());
  }

  void set_request(std::string const& base, json::Request const& request) {
    set(CURLOPT_URL, (base + request.target).c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (!request.body.empty() || request.method != "GET") {
      set(CURLOPT_POST, 1L);
      set(CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
      set(CURLOPT_COPYPOSTFIELDS, request.body.c_str());
    }
    add_header("User-Agent: poise");
    add_header("Expect:");
    for (auto const& each : request.headers) add_header(each);
    set(CURLOPT_HTTPHEADER, headers_.get());
  }
  void set_limits(json::Request const& request, HttpOptions const& options) {
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_ACCEPT_ENCODING, "");  // all that libcurl knows
    set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options.connect_timeout));
    if (!request.streams) set(CURLOPT_TIMEOUT_MS, milliseconds(request.timeout));
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_TCP_KEEPIDLE, 15L);
    set(CURLOPT_TCP_KEEPINTVL, 15L);
    if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
    if (!options.client_cert.empty()) set(CURLOPT_SSLCERT, options.client_cert.c_str());
    if (!options.client_key.empty()) set(CURLOPT_SSLKEY, options.client_key.c_str());
    set(CURLOPT_WRITEFUNCTION, &Exchange::on_body);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Exchange::on_header);
    set(CURLOPT_HEADERDATA, this);
  }
  void add_header(std::string const& text) {
    auto* const longer = curl_slist_append(headers_.get(), text.c_str());
    if (longer == nullptr) throw std::bad_alloc{};
    (void)headers_.release();
    headers_.reset(longer);
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) {
    static_cast<Exchange*>(self)->add_answer_header({data, size});
    return size;
  }
  void add_answer_header(std::string_view text) {
    if (text.starts_with("HTTP/")) answer_.headers.clear();  // after a 100, say
    auto const colon = text.find(':');
    if (colon == std::string_view::npos || answer_.headers.size() >= 200) return;
    std::string name{text.substr(0, colon)};
    for (auto& letter : name)
      letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    auto value = text.substr(colon + 1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' '))
      value.remove_suffix(1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    answer_.headers.emplace_back(std::move(name), value);
  }

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Exchange*>(self)->add_body({data, size}) ? size : 0;
  }
  bool add_body(std::string_view text) {
    auto& body = answer_.body;
    if (body.size() + text.size() > max_) {
      too_large_ = true;
      return false;
    }
    auto const before = body.size();  // of a line that has no end yet
    body += text;
    if (!streams_ || answer().status != 200) return true;
    std::size_t begin = 0;
    for (auto end = body.find('\n', before); end != std::string::npos;
         end = body.find('\n', begin)) {
      auto const line = std::string_view{body}.substr(begin, end - begin);
      if (line.find_first_not_of(" \r") != std::string_view::npos) line_(line);
      begin = end + 1;
    }
    body.erase(0, begin);
    return true;
  }

  std::unique_ptr<CURL, EasyDeleter> handle_;
  std::unique_ptr<curl_slist, HeadersDeleter> headers_{};
  json::Answer answer_{};
  Line line_;
  std::size_t max_;
  bool streams_;
  bool too_large_ = false;
};

/// "http://user:secret@host/x" without what stands before the @.
inline std::string without_secrets(std::string url) {
  auto const begin = url.find("://");
  if (begin == std::string::npos) return url;
  auto const end = url.find_first_of("/?#", begin + 3);
  auto const at = url.rfind('@', end);
  if (at != std::string::npos && at > begin) url.erase(begin + 3, at - begin - 2);
  auto const query = url.find('?');
  if (query != std::string::npos) url.erase(query);
  return url;
}

/// The servers of one registry, "http://a:2379,http://b:2379": asked one after the other, the next
/// one when one has failed. *Errors* ConfigError.
class Bases {
 public:
  explicit Bases(std::string_view list) {
    for (bool more = true; more;) {
      auto const comma = list.find(',');
      more = comma != std::string_view::npos;
      add(std::string{list.substr(0, comma)});
      if (more) list.remove_prefix(comma + 1);
    }
  }
  [[nodiscard]] std::string const& current() const noexcept { return all_[at_]; }
  void go_on() noexcept { at_ = (at_ + 1) % all_.size(); }
  /// Of all, without secrets.
  [[nodiscard]] std::string const& names() const noexcept { return names_; }

 private:
  void add(std::string base) {
    if (!base.starts_with("http://") && !base.starts_with("https://"))
      throw ConfigError{"the URL " + poise::detail::in_quotes(without_secrets(base)) +
                        " does not begin with http:// or https://"};
    while (base.ends_with('/')) base.pop_back();
    names_ += (names_.empty() ? "" : ",") + without_secrets(base);
    all_.push_back(std::move(base));
  }

  std::vector<std::string> all_{};
  std::string names_{};
  std::size_t at_ = 0;
};

class HttpSource final : public Source {
 public:
  HttpSource(std::string const& urls, std::unique_ptr<json::Conversation> conversation,
             HttpOptions options)
      : bases_{urls},
        conversation_{std::move(conversation)},
        options_{std::move(options)},
        name_{conversation_->name() + " at " + bases_.names()} {
    static CURLcode const initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
    multi_.reset(curl_multi_init());
    if (initialized != CURLE_OK || !multi_) throw std::bad_alloc{};
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &HttpSource::on_socket);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &HttpSource::on_timer);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  }
  ~HttpSource() override {
    stop();
    multi_.reset();
  }
  HttpSource(HttpSource const&) = delete;
  HttpSource& operator=(HttpSource const&) = delete;

  [[nodiscard]] std::string name() const override { return name_; }
  void ask(Time now) override {
    drop();
    if (!well_) bases_.go_on();
    well_ = false;  // until it answers
    plan(conversation_->begin(), now);
  }
  void drop() override {
    stop();
    planned_.reset();
    looks_.clear();
    changed_ = false;
  }
  [[nodiscard]] std::optional<Look> next(Time now) override {
    now_ = now;
    if (planned_ && now >= planned_at_) start();
    drive();
    finish();
    if (changed_ && (now >= list_at_ || !exchange_)) add_list();
    if (looks_.empty()) return std::nullopt;
    auto look = std::move(looks_.front());
    looks_.erase(looks_.begin());
    return look;
  }
  void add_waits(Waits& waits) const override {
    for (auto const& [socket, events] : sockets_) waits.add(static_cast<int>(socket), events);
    if (timer_) waits.add(*timer_);
    if (planned_) waits.add(planned_at_);
    if (!looks_.empty()) waits.add(now_);
    if (changed_) waits.add(list_at_);
  }
  [[nodiscard]] bool busy() const override {
    return exchange_ || planned_ || changed_ || !looks_.empty();
  }

 private:
  void plan(json::Request request, Time now) {
    planned_at_ = poise::detail::saturating_add(now, request.after);
    planned_ = std::move(request);
  }
  void start() {
    auto const request = std::move(*planned_);
    planned_.reset();
    stop();
    exchange_ = std::make_unique<Exchange>(bases_.current(), request, options_,
                                           [this](std::string_view line) { take_line(line); });
    curl_multi_add_handle(multi_.get(), exchange_->handle());
    timer_ = now_;
  }
  /// Called by libcurl, through which nothing may be thrown.
  void take_line(std::string_view line) noexcept {
    if (replaced_) return;
    try {
      follow(conversation_->on_line(line));
    } catch (std::exception const& error) {
      follow({Failed{error.what(), {}}, {}});
    }
  }
  void stop() {
    if (exchange_) curl_multi_remove_handle(multi_.get(), exchange_->handle());
    exchange_.reset();
    replaced_ = false;
  }

  /// Lets libcurl work. Readiness is asked anew: a call too many costs little, one too few hangs.
  void drive() {
    if (!exchange_) return;
    std::vector<pollfd> ready;
    for (auto const& [socket, events] : sockets_)
      ready.push_back({static_cast<int>(socket), events, 0});
    ::poll(ready.data(), ready.size(), 0);
    int running = 0;
    for (auto const& each : ready) {
      int events = 0;
      if ((each.revents & POLLIN) != 0) events |= CURL_CSELECT_IN;
      if ((each.revents & POLLOUT) != 0) events |= CURL_CSELECT_OUT;
      if ((each.revents & (POLLERR | POLLHUP)) != 0) events |= CURL_CSELECT_ERR;
      if (events != 0) curl_multi_socket_action(multi_.get(), each.fd, events, &running);
    }
    if (timer_ && now_ >= *timer_) {
      timer_.reset();
      curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    }
  }

  void finish() {
    if (replaced_) stop();
    int left = 0;
    while (auto const* const message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE || !exchange_) continue;
      auto const code = message->data.result;
      auto const exchange = std::move(exchange_);
      curl_multi_remove_handle(multi_.get(), exchange->handle());
      if (code == CURLE_OK) follow(conversation_->on_answer(exchange->answer()));
      else follow({Failed{name_ + ": " + exchange->error(code), {}}, {}});
    }
  }

  void follow(json::Step step) {
    changed_ = changed_ || step.changed;
    well_ = !step.look || !std::holds_alternative<Failed>(*step.look);
    if (step.look) {
      if (auto* const failed = std::get_if<Failed>(&*step.look);
          failed != nullptr && !failed->why.starts_with(name_)) {
        failed->why = name_ + ": " + failed->why;
        replaced_ = exchange_ != nullptr;  // a stream that made no sense ends
      }
      add_look(std::move(*step.look));
    }
    if (!step.next) return;
    replaced_ = exchange_ != nullptr;
    plan(std::move(*step.next), now_);
  }

  /// Of lists that come in one burst only the last is wanted.
  void add_look(Look look) {
    bool const is_list = std::holds_alternative<Found>(look);
    if (changed_ && !is_list) add_list();  // first what came before the failure
    changed_ = false;
    bool const replaces =
        is_list && !looks_.empty() && std::holds_alternative<Found>(looks_.back());
    if (replaces) looks_.back() = std::move(look);
    else looks_.push_back(std::move(look));
  }
  /// One list of all events that came since the last one.
  void add_list() {
    changed_ = false;
    list_at_ = poise::detail::saturating_add(now_, options_.gather);
    add_look(conversation_->list());
  }

  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) {
    auto& sockets = static_cast<HttpSource*>(self)->sockets_;
    std::erase_if(sockets, [&](auto const& each) { return each.first == socket; });
    if (what == CURL_POLL_REMOVE) return 0;
    auto const events = (what & CURL_POLL_IN) != 0 ? POLLIN : 0;
    auto const writes = (what & CURL_POLL_OUT) != 0 ? POLLOUT : 0;
    sockets.emplace_back(socket, static_cast<short>(events | writes));
    return 0;
  }
  static int on_timer(CURLM*, long milliseconds, void* self) {
    auto& source = *static_cast<HttpSource*>(self);
    if (milliseconds < 0) source.timer_.reset();
    else source.timer_ = source.now_ + std::chrono::milliseconds{milliseconds};
    return 0;
  }

  Bases bases_;
  std::unique_ptr<json::Conversation> conversation_;
  HttpOptions options_;
  std::string name_;
  std::vector<std::pair<curl_socket_t, short>> sockets_{};
  std::unique_ptr<CURLM, MultiDeleter> multi_{};
  std::unique_ptr<Exchange> exchange_{};
  bool replaced_ = false;  // the stream that runs is to end
  bool well_ = true;       // the current server's last answer made sense
  std::optional<json::Request> planned_{};
  Time planned_at_{};
  Time now_{};
  std::optional<Time> timer_{};
  std::vector<Look> looks_{};
  bool changed_ = false;  // the conversation's list is newer than the last one handed on
  Time list_at_{};        // not before this
};

}  // namespace detail

/// Any conversation over HTTP, with one server or with the next of several after each failure:
/// "http://a:2379,http://b:2379". *Errors* ConfigError: a URL that is neither http:// nor https://.
[[nodiscard]] inline std::unique_ptr<Source> from_http(
    std::string const& base_urls, std::unique_ptr<json::Conversation> conversation,
    HttpOptions options = {}) {
  return std::make_unique<detail::HttpSource>(base_urls, std::move(conversation),
                                              std::move(options));
}

}  // namespace poise::inline v0_1_0::discovery
