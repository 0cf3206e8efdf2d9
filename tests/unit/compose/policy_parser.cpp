// SPDX-License-Identifier: MIT
// Policies as text: what is read, what is refused and with which words, and random text by the
// thousand.

#include <poise/compose/policy_parser.hpp>

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/text.hpp"

namespace unit_compose_policy_parser {

using namespace std::chrono_literals;
using poise::ConfigError;
using poise::detail::PolicyArguments;
using poise::detail::PolicyParser;
using poise::detail::PolicyText;

namespace {

/// The text again, without spaces.
std::string written(PolicyText const& policy) {
  auto text = (policy.key.empty() ? "" : policy.key + "=") + policy.name;
  if (policy.arguments.empty()) return text;
  text += '(';
  for (auto const& argument : policy.arguments)
    text += (text.back() == '(' ? "" : ",") + written(argument);
  return text + ')';
}

std::string reread(std::string_view text) { return written(PolicyParser::parse(text)); }

std::string refusal(std::string_view text) {
  return tests::thrown<ConfigError>([&] { (void)PolicyParser::parse(text); });
}

template <class Use>
std::string complaint(std::string_view text, Use const& use) {
  auto const policy = PolicyParser::parse(text);
  PolicyArguments arguments{policy};
  return tests::thrown<ConfigError>([&] {
    use(arguments);
    arguments.done();
  });
}

}  // namespace

TEST_CASE("policy text is read with names, keys, numbers and nesting") {
  CHECK(reread("p2c") == "p2c");
  CHECK(reread("  p2c ( load = peak_ewma ) ") == "p2c(load=peak_ewma)");
  CHECK(reread("retry(failover(p2c(peak_ewma),overprovision=140),attempts=3, base=25ms)") ==
        "retry(failover(p2c(peak_ewma),overprovision=140),attempts=3,base=25ms)");
  CHECK(reread("zone_aware(p2c, zone=\"a zone, (odd)\")") == "zone_aware(p2c,zone=a zone, (odd))");
  CHECK(reread("a( )") == "a");
  CHECK(reread("a(\"\")") == "a()");
}

TEST_CASE("policy text that is wrong is refused with the place") {
  CHECK(refusal("") == "policy \"\", character 1: expected a name");
  CHECK(refusal("p2c(") == "policy \"p2c(\", character 5: expected a name");
  CHECK(refusal("p2c(load=peak_ewma") ==
        "policy \"p2c(load=peak_ewma\", character 19: expected , or )");
  CHECK(refusal("p2c)") == "policy \"p2c)\", character 4: the text should end here");
  CHECK(refusal("p2c,random") == "policy \"p2c,random\", character 4: the text should end here");
  CHECK(refusal("p2c(,)") == "policy \"p2c(,)\", character 5: expected a name");
  CHECK(refusal("p2c(a,)") == "policy \"p2c(a,)\", character 7: expected a name");
  CHECK(refusal("p2c(a=)") == "policy \"p2c(a=)\", character 7: expected a name");
  CHECK(refusal("p2c(a(b)=c)") ==
        "policy \"p2c(a(b)=c)\", character 9: what stands before = must be a plain name");
  CHECK(refusal("p2c(\"x)") == "policy \"p2c(\\\"x)\", character 5: this quote is not closed");
  CHECK(tests::mentions(refusal(std::string(5000, 'x')), "5000 characters is too long"));
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "a(";
  CHECK(tests::mentions(refusal(deep), "more than 32 policies inside each other"));
}

TEST_CASE("policy arguments are taken by key, in their units") {
  auto const policy = PolicyParser::parse(
      "x(p2c, n=7, share=0.25, wait=1.5s, short=100us, tiny=7ns, long=2m, on=yes, off=no, c=red)");
  PolicyArguments arguments{policy};
  CHECK(arguments.find("policy", true)->name == "p2c");
  CHECK(arguments.find("policy", true) == nullptr);
  CHECK(arguments.count("n", 1) == 7);
  CHECK(arguments.count("absent", 3) == 3);
  CHECK(arguments.number("share", 0) == 0.25);
  CHECK(arguments.duration("wait", 0ns) == 1500ms);
  CHECK(arguments.duration("short", 0ns) == 100us);
  CHECK(arguments.duration("tiny", 0ns) == 7ns);
  CHECK(arguments.duration("long", 0ns) == 120s);
  CHECK(arguments.duration("none", 9ms) == 9ms);
  CHECK(arguments.flag("on", false));
  CHECK_FALSE(arguments.flag("off", true));
  CHECK(arguments.word("c", {"green", "red"}, 0) == 1);
  CHECK_NOTHROW(arguments.done());
}

TEST_CASE("policy arguments that are wrong are refused with key and value") {
  auto const count = [](auto& arguments) { (void)arguments.count("n", 1); };
  CHECK(complaint("x(n=-1)", count) ==
        "x(): n is \"-1\", but must be a whole number up to 4294967295");
  CHECK(tests::mentions(complaint("x(n=4294967296)", count), "n is \"4294967296\""));
  CHECK(tests::mentions(complaint("x(n=1.5)", count), "n is \"1.5\""));
  CHECK(tests::mentions(complaint("x(n=a(b))", count), "n is \"a\"(...), but must be a plain"));
  CHECK(complaint("x(n=1,n=2)", count) == "x(): n is given twice");
  CHECK(complaint("x(m=1)", count) == "x() does not know \"m\"; it takes n");
  CHECK(complaint("x(1)", count) == "x() does not know \"1\"; it takes n");
  CHECK(complaint("x(1)", [](auto&) {}) == "x() does not know \"1\"; it takes nothing");

  auto const number = [](auto& arguments) { (void)arguments.number("n", 1); };
  for (auto const* bad : {"x(n=nan)", "x(n=inf)", "x(n=1e3)", "x(n=.)", "x(n=1s)", "x(n=-1)"})
    CHECK(tests::mentions(complaint(bad, number), "but must be a number"));
  CHECK(complaint("x(n=.5)", number) == "(nothing was thrown)");
  CHECK(tests::mentions(complaint("x(n=1111111111111111111111)", number), "must be a number"));

  auto const duration = [](auto& arguments) { (void)arguments.duration("t", 0ns); };
  for (auto const* bad : {"x(t=5)", "x(t=5h)", "x(t=ms)", "x(t=-1ms)", "x(t=99999999999999999m)"})
    CHECK(tests::mentions(complaint(bad, duration), "but must be a duration such as 25ms"));

  CHECK(complaint("x(on=maybe)", [](auto& a) { (void)a.flag("on", true); }) ==
        "x(): on is \"maybe\", but must be yes or no");
  CHECK(complaint("x(c=blue)", [](auto& a) { (void)a.word("c", {"green", "red"}, 0); }) ==
        "x(): c is \"blue\", but must be one of green, red");
}

TEST_CASE("policy text of any kind is read or refused, and what is read reads the same again") {
  std::mt19937_64 random{1};
  constexpr std::string_view letters = "ab1.=(),\" \t\\-\x01\xff";
  int read = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string text;
    for (auto length = random() % 24; length > 0; --length)
      text += letters[random() % letters.size()];
    try {
      auto const policy = PolicyParser::parse(text);
      ++read;
      if (text.find('"') == std::string::npos) CHECK(reread(written(policy)) == written(policy));
    } catch (ConfigError const&) {
    }
  }
  CHECK(read > 1000);
}

}  // namespace unit_compose_policy_parser
