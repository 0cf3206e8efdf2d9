// SPDX-License-Identifier: MIT
#pragma once

// The events of a simulation, and their text form: one fact per line, # begins a comment.
// docs/simulator.md lists the keys. Times are in nanoseconds.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <istream>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/nearest.hpp>
#include <poise/error.hpp>

#include "arrivals.hpp"
#include "number.hpp"
#include "server.hpp"
#include "trace.hpp"
#include "work.hpp"

namespace simulate {

/// Something that happens to servers first to last.
struct Incident {
  enum class Kind { speed, errors, down, up, leave, join, ramp, wander };
  double at = 0;
  Kind kind = Kind::speed;
  std::size_t first = 0;
  std::size_t last = 0;
  double value = 0;  // speed; share of errors; sigma
  double time = 0;   // until an error is answered; of a ramp; of wandering
};

struct Scenario {
  std::string name{};
  std::size_t clients = 1;
  std::vector<ServerKind> servers{};
  Work work{};
  double utilisation = 0;  // of all speed * cores; 0: the rate is given
  double rate = 0;         // requests per nanosecond; 0: by utilisation
  Arrivals arrivals{};
  double network = 0;  // one way
  double timeout = 0;  // 0: 100 times the mean work
  double warmup = 0;
  double window = 0;
  unsigned retries = 0;
  std::vector<Incident> incidents{};

  [[nodiscard]] double capacity() const noexcept {
    double sum = 0;
    for (auto const& each : servers) sum += each.speed * each.cores;
    return sum;
  }
  [[nodiscard]] double request_rate() const noexcept {
    return rate > 0 ? rate : utilisation * capacity() / work.mean;
  }
  [[nodiscard]] double load() const noexcept { return request_rate() * work.mean / capacity(); }
  [[nodiscard]] double patience() const noexcept { return timeout > 0 ? timeout : 100 * work.mean; }

  /// The same with all times multiplied: as it would be for services that take longer.
  [[nodiscard]] Scenario scaled(double factor) const {
    auto result = *this;
    result.work = work.scaled(factor);
    result.rate /= factor;
    for (auto* time : {&result.network, &result.timeout, &result.warmup, &result.window,
                       &result.arrivals.period})
      *time *= factor;
    for (auto& each : result.incidents) {
      each.at *= factor;
      each.time *= factor;
    }
    return result;
  }
};

namespace detail {

/// The words of one line, taken one by one; every mistake is answered with the line's number.
class Line {
 public:
  Line(std::size_t number, std::string const& text) : number_{number} {
    std::istringstream words{text.substr(0, text.find('#'))};
    for (std::string word; words >> word;) words_.push_back(word);
  }

  [[nodiscard]] bool empty() const noexcept { return at_ == words_.size(); }
  std::string word(std::string_view what) {
    if (empty()) fail("expected " + std::string{what} + " here");
    return words_[at_++];
  }
  /// One of these words, by number.
  std::size_t choice(std::string_view what, std::initializer_list<std::string_view> known) {
    auto const given = word(what);
    auto const found = std::find(known.begin(), known.end(), given);
    if (found == known.end())
      fail("unknown " + std::string{what} + " " + poise::detail::in_quotes(given) +
           poise::detail::suggestion(given, known, "known:"));
    return static_cast<std::size_t>(found - known.begin());
  }
  /// The next word as key=value, if the key is one of these; the key's number, value in value().
  std::size_t setting(std::initializer_list<std::string_view> known) {
    auto const text = word("a setting");
    auto const equals = text.find('=');
    auto const key = text.substr(0, equals);
    auto const found = std::find(known.begin(), known.end(), key);
    if (found == known.end())
      fail("unknown key " + poise::detail::in_quotes(key) +
           poise::detail::suggestion(key, known, "known:"));
    if (equals == std::string::npos) fail(key + " needs a value: " + key + "=...");
    key_ = key;
    value_ = text.substr(equals + 1);
    return static_cast<std::size_t>(found - known.begin());
  }
  [[nodiscard]] std::string const& value() const noexcept { return value_; }
  [[nodiscard]] double number(double least, double most) const {
    return number(key_, value_, least, most);
  }
  [[nodiscard]] double duration(double least = 0) const { return duration(key_, value_, least); }
  [[nodiscard]] std::size_t whole(double least, double most) const {
    return whole(key_, value_, least, most);
  }

  [[nodiscard]] double number(std::string const& what, std::string_view text, double least,
                              double most) const {
    auto const [value, rest] = leading_number(text);
    if (!rest.empty() || !(value >= least && value <= most))
      fail(what + " is " + poise::detail::in_quotes(text) + ", but must be a number from " +
           shown(least) + " to " + shown(most));
    return value;
  }
  [[nodiscard]] std::size_t whole(std::string const& what, std::string_view text, double least,
                                  double most) const {
    auto const value = number(what, text, least, most);
    if (value != std::floor(value)) fail(what + " must be a whole number");
    return static_cast<std::size_t>(value);
  }
  [[nodiscard]] double duration(std::string const& what, std::string_view text,
                                double least = 0) const {
    auto const [value, unit] = leading_number(text);
    auto const scale = unit == "ns"   ? 1
                       : unit == "us" ? 1e3
                       : unit == "ms" ? 1e6
                       : unit == "s"  ? 1e9
                       : value == 0   ? 1  // zero of anything
                                      : 0;
    if (scale == 0 || !(value * scale >= least) || value * scale > 1e15)
      fail(what + " is " + poise::detail::in_quotes(text) +
           ", but must be a time such as 25ms, 1.5s or 100us" + (least > 0 ? ", above 0" : ""));
    return value * scale;
  }
  void done() const {
    if (!empty()) fail(poise::detail::in_quotes(words_[at_]) + " was not expected here");
  }
  [[noreturn]] void fail(std::string const& what) const {
    throw poise::ConfigError{"line " + std::to_string(number_) + ": " + what};
  }

 private:
  static std::string shown(double value) {
    std::ostringstream text;
    text << value;
    return text.str();
  }

  std::size_t number_;
  std::vector<std::string> words_{};
  std::size_t at_ = 0;
  std::string key_{};
  std::string value_{};
};

class ScenarioReader {
 public:
  /// `folder` is where files that the text names are looked for.
  ScenarioReader(std::istream& text, std::string folder) : folder_{std::move(folder)} {
    std::string line;
    for (std::size_t number = 1; std::getline(text, line); ++number) {
      if (number == 1) drop_byte_order_mark(line);
      Line words{number, line};
      if (words.empty()) continue;
      fact(words);
      words.done();
    }
    check();
  }

  Scenario scenario{};

 private:
  static constexpr double huge = 1e12;
  static constexpr double positive = 1e-9;

  void fact(Line& line) {
    switch (
        line.choice("key", {"name", "clients", "servers", "work", "utilisation", "rate", "arrivals",
                            "network", "timeout", "warmup", "window", "retries", "at"})) {
      case 0: scenario.name = line.word("a name"); break;
      case 1: scenario.clients = count(line, "clients", 1, 100'000); break;
      case 2: servers(line); break;
      case 3: work(line); break;
      case 4:
        scenario.utilisation = line.number("utilisation", line.word("a number"), positive, 100);
        break;
      case 5: rate(line); break;
      case 6: arrivals(line); break;
      case 7: scenario.network = time(line, "network", 0); break;
      case 8: scenario.timeout = time(line, "timeout", 1); break;
      case 9: scenario.warmup = time(line, "warmup", 0); break;
      case 10: scenario.window = time(line, "window", 1); break;
      case 11: scenario.retries = static_cast<unsigned>(count(line, "retries", 0, 10)); break;
      default: incident(line);
    }
  }

  static std::size_t count(Line& line, std::string const& what, double least, double most) {
    return line.whole(what, line.word("a number"), least, most);
  }
  static double time(Line& line, std::string const& what, double least) {
    return line.duration(what, line.word("a time"), least);
  }

  void servers(Line& line) {
    constexpr std::size_t most = 65'535;  // see Sample
    auto const number = count(line, "the number of servers", 1, most);
    if (scenario.servers.size() + number > most) line.fail("more than 65535 servers in all");
    ServerKind kind;
    while (!line.empty()) switch (line.setting({"cores", "discipline", "speed", "weight"})) {
        case 0: kind.cores = static_cast<unsigned>(line.whole(1, 1024)); break;
        case 1:
          if (line.value() != "ps" && line.value() != "fifo")
            line.fail("unknown discipline " + poise::detail::in_quotes(line.value()) +
                      "; known: ps, fifo");
          kind.discipline = line.value() == "ps" ? Discipline::ps : Discipline::fifo;
          break;
        case 2: kind.speed = line.number(1e-6, 1e6); break;
        default: kind.weight = static_cast<std::uint32_t>(line.whole(1, 1e6));
      }
    scenario.servers.insert(scenario.servers.end(), number, kind);
  }

  void work(Line& line) {
    auto const kind = line.choice("distribution of work", {"fixed", "exponential", "lognormal",
                                                           "bimodal", "pareto", "trace"});
    if (kind == 5) {
      scenario.work = read_work(folder_, line.word("a file's name"), line);
      return;
    }
    double mean = 0;
    double sigma = 1;
    double share = 0;
    double low = 0;
    double high = 0;
    double alpha = 0;
    double cap = 0;
    while (!line.empty()) {
      if (kind <= 1) {
        line.setting({"mean"});
        mean = line.duration(1);
      } else if (kind == 2) {
        if (line.setting({"mean", "sigma"}) == 0) mean = line.duration(1);
        else sigma = line.number(0, 10);
      } else if (kind == 3) {
        auto const which = line.setting({"share", "low", "high"});
        if (which == 0) share = line.number(0, 1);
        else (which == 1 ? low : high) = line.duration(1);
      } else {
        auto const which = line.setting({"alpha", "mean", "cap"});
        if (which == 0) alpha = line.number(0.1, 100);
        else (which == 1 ? mean : cap) = line.duration(1);
      }
    }
    switch (kind) {
      case 0: scenario.work = {.kind = Work::Kind::fixed, .mean = mean}; break;
      case 1: scenario.work = {.kind = Work::Kind::exponential, .mean = mean}; break;
      case 2: scenario.work = {.kind = Work::Kind::lognormal, .mean = mean, .sigma = sigma}; break;
      case 3:
        if (low <= 0 || high <= 0) line.fail("bimodal needs share=, low= and high=");
        scenario.work = Work::bimodal(share, low, high);
        return;
      default:
        if (alpha <= 0 || mean <= 0) line.fail("pareto needs alpha= and mean=");
        if (cap <= 0) cap = 10'000 * mean;
        if (mean >= cap) line.fail("the mean must be below the cap");
        if (alpha == 1) alpha = 1 + 1e-6;
        scenario.work = Work::pareto(alpha, mean, cap);
    }
    if (mean <= 0) line.fail("mean= is missing");
  }

  void rate(Line& line) {
    auto text = line.word("a number");
    if (text.ends_with("/s")) text.resize(text.size() - 2);
    scenario.rate = line.number("rate", text, positive, huge) / 1e9;
  }

  void arrivals(Line& line) {
    auto& it = scenario.arrivals;
    auto const kind = line.choice("kind of arrivals", {"poisson", "batch", "bursty", "recorded"});
    it.kind = static_cast<Arrivals::Kind>(kind);
    if (it.kind == Arrivals::Kind::recorded) {
      recorded_ = read_arrivals(folder_, line.word("a file's name"), line, it);
      return;
    }
    if (it.kind == Arrivals::Kind::poisson) return;
    if (it.kind == Arrivals::Kind::batch) it.batch = 0;
    if (it.kind == Arrivals::Kind::bursty) it.high = it.low = -1;
    while (!line.empty()) {
      if (it.kind == Arrivals::Kind::batch) {
        line.setting({"mean"});
        it.batch = line.number(1, 1e6);
        continue;
      }
      switch (line.setting({"high", "low", "period"})) {
        case 0: it.high = line.number(1, 1e6); break;
        case 1: it.low = line.number(0, 1); break;
        default: it.period = line.duration(1);
      }
    }
    if (it.batch == 0) line.fail("batch needs mean=");
    if (it.high < 0 || it.low < 0) line.fail("bursty needs high= and low=");
  }

  void incident(Line& line) {
    Incident it;
    it.at = line.duration("the moment", line.word("a time"));
    line.choice("target", {"server", "servers"});
    range(line, it);
    auto const what = line.word("what happens");
    auto const fails = [&](std::string const& key) {
      line.fail("unknown incident " + poise::detail::in_quotes(key) +
                "; known: speed=, errors=SHARE after=, down, up, leave, join, ramp speed= over=, "
                "wander sigma= time=");
    };
    using Kind = Incident::Kind;
    if (what.starts_with("speed=")) {
      it.kind = Kind::speed;
      it.value = line.number("speed", what.substr(6), 0, 1e6);
    } else if (what.starts_with("errors=")) {
      it.kind = Kind::errors;
      it.value = line.number("errors", what.substr(7), 0, 1);
      while (!line.empty()) {
        line.setting({"after"});
        it.time = line.duration();
      }
    } else if (what == "down" || what == "up" || what == "leave" || what == "join") {
      it.kind = what == "down"    ? Kind::down
                : what == "up"    ? Kind::up
                : what == "leave" ? Kind::leave
                                  : Kind::join;
    } else if (what == "ramp") {
      it.kind = Kind::ramp;
      it.value = 1;
      while (!line.empty())
        if (line.setting({"speed", "over"}) == 0) it.value = line.number(0, 1e6);
        else it.time = line.duration(1);
      if (it.time <= 0) line.fail("ramp needs over=");
    } else if (what == "wander") {
      it.kind = Kind::wander;
      it.value = -1;
      while (!line.empty())
        if (line.setting({"sigma", "time"}) == 0) it.value = line.number(0, 5);
        else it.time = line.duration(1);
      if (it.value < 0 || it.time <= 0) line.fail("wander needs sigma= and time=");
    } else {
      fails(what);
    }
    scenario.incidents.push_back(it);
    targets_.push_back(line);
  }

  static void range(Line& line, Incident& it) {
    auto const text = line.word("a server's number");
    it.first = 0;
    it.last = std::numeric_limits<std::size_t>::max();
    if (text == "all") return;
    auto const dash = text.find('-');
    auto const number = [&](std::string const& part) {
      return line.whole("the server", part, 0, 1e6);
    };
    it.first = number(text.substr(0, dash));
    it.last = dash == std::string::npos ? it.first : number(text.substr(dash + 1));
    if (it.last < it.first) line.fail("the range " + poise::detail::in_quotes(text) + " is empty");
  }

  void check() {
    auto const fail = [](std::string const& what) { throw poise::ConfigError{what}; };
    if (scenario.servers.empty())
      fail("there are no servers; add a line such as: servers 10 cores=1 discipline=ps speed=1");
    for (std::size_t i = 0; i < scenario.incidents.size(); ++i) {
      auto& each = scenario.incidents[i];
      bool const all = each.last == std::numeric_limits<std::size_t>::max();
      if (all) each.last = scenario.servers.size() - 1;
      if (each.last >= scenario.servers.size())
        targets_[i].fail("there is no server " + std::to_string(each.last) + "; the last of " +
                         std::to_string(scenario.servers.size()) + " is server " +
                         std::to_string(scenario.servers.size() - 1));
      if (each.kind == Incident::Kind::wander &&
          (scenario.warmup + scenario.window) / each.time *
                  static_cast<double>(each.last - each.first + 1) >
              5e7)
        targets_[i].fail("so short a time= would take more than a billion steps");
    }
    std::stable_sort(scenario.incidents.begin(), scenario.incidents.end(),
                     [](auto const& left, auto const& right) { return left.at < right.at; });
    if (scenario.utilisation > 0 && scenario.rate > 0)
      fail("both utilisation and rate are given; one of them follows from the other");
    if (scenario.utilisation <= 0 && scenario.rate <= 0) {
      if (recorded_ <= 0)
        fail("utilisation is missing (or rate): how much is asked of the servers?");
      scenario.rate = recorded_;
    }
    if (scenario.window <= 0) fail("window is missing: for how long are requests measured?");
    // What happens in one nanosecond, or needs more memory than there is, is a slip of the pen.
    auto const requests = scenario.request_rate() * (scenario.warmup + scenario.window);
    if (requests > 1e9)
      fail("this would be " + std::to_string(static_cast<long long>(std::min(requests, 9e18))) +
           " requests; at most 1000000000 are simulated");
    if (static_cast<double>(scenario.clients) * static_cast<double>(scenario.servers.size()) > 1e7)
      fail(std::to_string(scenario.clients) + " clients that know " +
           std::to_string(scenario.servers.size()) +
           " servers each would need too much memory; at most 10000000 pairs are simulated");
  }

  std::string folder_;
  double recorded_ = 0;  // the rate of recorded arrivals
  std::vector<Line> targets_{};
};

}  // namespace detail

/// *Errors* ConfigError: the line, what is wrong with it, and what is known.
[[nodiscard]] inline Scenario read_scenario(std::istream& text, std::string folder = ".") {
  return detail::ScenarioReader{text, std::move(folder)}.scenario;
}
[[nodiscard]] inline Scenario read_scenario(std::string const& text) {
  std::istringstream stream{text};
  return read_scenario(stream);
}

}  // namespace simulate
