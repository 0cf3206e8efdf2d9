// SPDX-License-Identifier: MIT
// HTTPS probes, against a server whose certificate is right or wrong in every way, and nginx.

#include <array>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include <asio/ssl.hpp>
#include <poise/asio/prober.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/tls/https_probe.hpp>

#include "integration/health/nodes.hpp"
#include "integration/servers/certificates.hpp"
#include "integration/servers/program.hpp"
#include "support/catch.hpp"

namespace integration_servers_https {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::asio::HttpsProbe;
using poise::asio::TlsOptions;
using tests::Authority;
using tests::Certificate;
using tests::Loop;

namespace {

/// An HTTPS server on loopback.
class TlsServer {
 public:
  enum class Manner { good, silent, plain, cut };

  TlsServer(Loop& loop, Certificate const& certificate, Manner manner = Manner::good)
      : loop_{loop}, state_{std::make_shared<State>(loop.context(), certificate, manner)} {
    loop_.run([&] { state_->accept(); });
  }
  ~TlsServer() {
    loop_.run([&] { state_->acceptor.close(); });
  }
  TlsServer(TlsServer const&) = delete;
  TlsServer& operator=(TlsServer const&) = delete;

  [[nodiscard]] std::string address(std::string const& host = "127.0.0.1") const {
    return host + ":" + std::to_string(state_->acceptor.local_endpoint().port());
  }
  /// What the last client called it, in TLS and in HTTP.
  [[nodiscard]] std::string asked_for() {
    std::string text;
    loop_.run([&] { text = state_->server_name + " | " + state_->request; });
    return text;
  }

 private:
  using Tcp = asio::ip::tcp;

  struct State : std::enable_shared_from_this<State> {
    State(asio::io_context& context, Certificate const& certificate, Manner with)
        : acceptor{context, {asio::ip::address_v4::loopback(), 0}}, manner{with} {
      tls.use_certificate_chain(asio::buffer(certificate.chain));
      tls.use_private_key(asio::buffer(certificate.key), asio::ssl::context::pem);
    }
    void accept() {
      acceptor.async_accept([self = shared_from_this()](std::error_code error, Tcp::socket socket) {
        if (error) return;
        std::make_shared<Session>(std::move(socket), self)->begin();
        self->accept();
      });
    }
    asio::ssl::context tls{asio::ssl::context::tls_server};
    Tcp::acceptor acceptor;
    Manner manner;
    std::string server_name{};
    std::string request{};
  };

  struct Session : std::enable_shared_from_this<Session> {
    Session(Tcp::socket socket, std::shared_ptr<State> owner)
        : state{std::move(owner)}, stream{std::move(socket), state->tls} {}
    void begin() {
      if (state->manner == Manner::plain) return send(stream.next_layer());
      if (state->manner == Manner::silent)
        return stream.next_layer().async_read_some(asio::null_buffers{}, wait());
      stream.async_handshake(asio::ssl::stream_base::server,
                             [self = shared_from_this()](std::error_code error) {
                               if (!error) self->read();
                             });
    }
    /// Until the client goes: what it said stays unread.
    std::function<void(std::error_code, std::size_t)> wait() {
      return [self = shared_from_this()](std::error_code, std::size_t) {
        self->timer.expires_after(20ms);
        self->timer.async_wait([self](std::error_code) {
          std::array<char, 1> peek{};
          std::error_code error;
          self->stream.next_layer().non_blocking(true);
          self->stream.next_layer().receive(asio::buffer(peek), Tcp::socket::message_peek, error);
          if (!error || error == asio::error::would_block) self->wait()({}, 0);
        });
      };
    }
    void read() {
      asio::async_read_until(stream, asio::dynamic_buffer(request), "\r\n\r\n",
                             [self = shared_from_this()](std::error_code error, std::size_t) {
                               if (error) return;
                               auto const* name = SSL_get_servername(self->stream.native_handle(),
                                                                     TLSEXT_NAMETYPE_host_name);
                               self->state->server_name = name == nullptr ? "" : name;
                               self->state->request = self->request;
                               self->send(self->stream);
                             });
    }
    template <class Stream>
    void send(Stream& to) {
      text = state->manner == Manner::cut ? "HTTP/1.0 20" : "HTTP/1.0 200 OK\r\n\r\nready\n";
      asio::async_write(to, asio::buffer(text),
                        [self = shared_from_this()](std::error_code, std::size_t) {});
    }
    std::shared_ptr<State> state;
    asio::ssl::stream<Tcp::socket> stream;
    asio::steady_timer timer{stream.get_executor()};
    std::string request{};
    std::string text{};
  };

  Loop& loop_;
  std::shared_ptr<State> state_;
};

/// An authority, and probes that trust it.
struct World {
  Loop loop{};
  Authority authority{"authority of this test"};
  tests::Scratch scratch{};
  std::string trusted = scratch.write("ca.pem", authority.pem());

  [[nodiscard]] HttpsProbe probe(std::string const& host = {}) const {
    return HttpsProbe{"/up", {.body = "ready"}, host, {.ca_file = trusted}};
  }
  /// One probe; "hung" if it takes longer than two seconds.
  [[nodiscard]] std::string ask(poise::asio::StartProbe const& start, std::string const& address) {
    std::promise<Probed> answer;
    std::shared_ptr<poise::asio::Attempt> attempt;
    loop.run([&] {
      attempt = start(loop.executor(), address, [&](Probed const& it) { answer.set_value(it); });
    });
    auto future = answer.get_future();
    bool const ready = future.wait_for(2s) == std::future_status::ready;
    loop.run([&] { attempt->cancel(); });
    if (!ready) return "hung";
    auto const result = future.get();
    return (result.passed ? "passed " : "failed ") + result.cause;
  }
};

bool contains(std::string const& text, std::string const& part) {
  UNSCOPED_INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an HTTPS probe passes by a certificate for the host that it was given") {
  World world;
  TlsServer server{world.loop, world.authority.issue("DNS:api.internal")};
  auto const probe = world.probe("api.internal");
  CHECK(world.ask(probe, server.address()) == "passed http: status 200 and the expected text");
  CHECK(contains(server.asked_for(), "api.internal | GET /up HTTP/1.1\r\nHost: api.internal\r\n"));
  CHECK(contains(world.ask(world.probe("api.internal:8443"), server.address()), "passed"));
}

TEST_CASE("without a host the name or number of the address is what the certificate must say") {
  World world;
  TlsServer named{world.loop, world.authority.issue("DNS:localhost")};
  CHECK(contains(world.ask(world.probe(), named.address("localhost")), "passed"));
  CHECK(contains(named.asked_for(), "localhost | GET"));
  CHECK(world.ask(world.probe(), named.address()) ==
        "failed tls: IP address mismatch: it is not for \"127.0.0.1\"");
  TlsServer numbered{world.loop, world.authority.issue("IP:127.0.0.1")};
  CHECK(contains(world.ask(world.probe(), numbered.address()), "passed"));
  CHECK(contains(numbered.asked_for(), " | GET"));
  CHECK(numbered.asked_for().front() == ' ');  // numbers are not sent in SNI
}

TEST_CASE("the cause of a failure says what is wrong with a certificate") {
  World world;
  auto const probe = world.probe("api.internal");
  auto const judged = [&](Certificate const& certificate) {
    TlsServer const server{world.loop, certificate};
    return world.ask(probe, server.address());
  };
  CHECK(judged(world.authority.issue("DNS:api.internal", -60)) ==
        "failed tls: certificate has expired");
  CHECK(judged(world.authority.issue("DNS:web.internal")) ==
        "failed tls: hostname mismatch: it is not for \"api.internal\"");
  CHECK(contains(judged(Authority{"somebody else"}.issue("DNS:api.internal")),
                 "failed tls: unable to get local issuer certificate"));
  Authority const self{"api.internal"};
  CHECK(contains(judged({self.pem(), self.key()}), "failed tls: self-signed certificate"));
}

TEST_CASE("a certificate for an IP address is not one for the name in its subject") {
  World world;
  TlsServer const server{world.loop, world.authority.issue("IP:127.0.0.1")};  // of CN=server
  CHECK(world.ask(world.probe("server"), server.address()) ==
        "failed tls: hostname mismatch: it is not for \"server\"");
  TlsServer const mail{world.loop, world.authority.issue("email:a@b.test")};
  CHECK(
      contains(world.ask(world.probe("server"), mail.address()), "failed tls: hostname mismatch"));
}

TEST_CASE("probes verify nothing if verify is off") {
  World world;
  TlsServer server{world.loop, Authority{"somebody else"}.issue("DNS:web.internal", -60)};
  HttpsProbe const probe{"/up", {}, "", {.verify = false}};
  CHECK(world.ask(probe, server.address()) == "passed http: status 200");
}

TEST_CASE("a certificate that the system does not know fails unless its file is given") {
  World world;
  TlsServer server{world.loop, world.authority.issue("DNS:api.internal")};
  CHECK(contains(world.ask(HttpsProbe{"/up", {}, "api.internal"}, server.address()),
                 "failed tls: unable to get local issuer certificate"));
}

TEST_CASE("servers that do not speak TLS, fall silent or break off fail the probe") {
  World world;
  auto const certificate = world.authority.issue("DNS:api.internal");
  auto const judged = [&](TlsServer::Manner manner) {
    TlsServer const server{world.loop, certificate, manner};
    return world.ask(world.probe("api.internal"), server.address());
  };
  CHECK(contains(judged(TlsServer::Manner::plain), "failed tls: wrong version number"));
  CHECK(contains(judged(TlsServer::Manner::cut), "failed http: stream truncated"));
  CHECK(judged(TlsServer::Manner::silent) == "hung");  // and a prober's timeout ends it
  CHECK(contains(world.ask(world.probe(), "127.0.0.1:1"), "failed connect: "));
}

TEST_CASE("a context may be given a last word") {
  World world;
  TlsServer server{world.loop, world.authority.issue("IP:127.0.0.1")};
  bool asked = false;
  HttpsProbe const probe{"/up", {}, "", {.ca_file = world.trusted, .configure = [&](auto& context) {
                                           asked = true;
                                           SSL_CTX_set_max_proto_version(context.native_handle(),
                                                                         TLS1_2_VERSION);
                                         }}};
  CHECK(asked);
  CHECK(contains(world.ask(probe, server.address()), "passed"));
}

TEST_CASE("an HTTPS probe refuses what can't work, and says why") {
  tests::Scratch const scratch;
  auto const empty = scratch.write("empty.pem", "no certificate");
  CHECK_THROWS_AS(HttpsProbe{"up"}, poise::ConfigError);
  CHECK_THROWS_AS((HttpsProbe{"/", {}, "a\r\nb"}), poise::ConfigError);
  for (auto const& file : {empty, std::string{"/no/such/file"}}) try {
      HttpsProbe const probe{"/", {}, "", {.ca_file = file}};
      FAIL("accepted");
    } catch (poise::ConfigError const& error) {
      CHECK(contains(error.what(), file));
    }
  World world;
  CHECK(contains(world.ask(world.probe(), "unix:/no/such/socket"), "failed connect: "));
}

TEST_CASE("nginx with a certificate that expires or is renewed is taken out and comes back") {
  REQUIRE(std::filesystem::exists("/usr/sbin/nginx"));
  World world;
  auto const port = tests::free_port();
  auto const install = [&](Certificate const& certificate) {
    (void)world.scratch.write("server.pem", certificate.chain);
    (void)world.scratch.write("server.key", certificate.key);
  };
  install(world.authority.issue("DNS:api.internal"));
  auto const config = world.scratch.write(
      "nginx.conf",
      "daemon off; master_process off; pid nginx.pid; error_log error.log;\n"
      "events {}\nhttp { access_log off; client_body_temp_path b; proxy_temp_path p;\n"
      "fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n"
      "server { listen 127.0.0.1:" +
          std::to_string(port) +
          " ssl; ssl_certificate server.pem; ssl_certificate_key server.key;\n"
          "location /up { return 200 'ready'; } location / { return 302 /up; } } }\n");
  auto const start = [&] {
    return std::make_unique<tests::Program>(
        std::vector<std::string>{"/usr/sbin/nginx", "-e", "stderr", "-p", world.scratch.path(),
                                 "-c", config},
        port);
  };
  auto nginx = start();
  auto const address = "127.0.0.1:" + std::to_string(port);
  CHECK(world.ask(world.probe("api.internal"), address) ==
        "passed http: status 200 and the expected text");
  CHECK(
      contains(world.ask(HttpsProbe{"/", {}, "api.internal", {.ca_file = world.trusted}}, address),
               "failed http: status 302 to \"https://api.internal"));

  Standard const monitor{{.slow_start = {.window = 0s}, .seed = 1}};
  poise::Balancer<poise::RoundRobin, void, Monitored> servers{
      {{.id = "nginx", .address = address}, {.id = "other", .address = "127.0.0.1:1"}},
      {},
      {.observers = {monitor}}};
  servers.tick();
  poise::asio::Prober const prober{world.loop.executor(),
                                   servers,
                                   monitor,
                                   world.probe("api.internal"),
                                   {.interval = 200ms,
                                    .timeout = 150ms,
                                    .doubt_interval = 50ms,
                                    .max_down_interval = 200ms,
                                    .spread = 50ms}};
  auto const reaches = [&](Phase wanted) {
    for (int i = 0; i < 5000; ++i) {
      if (monitor.phase("nginx") == wanted) return true;
      std::this_thread::sleep_for(1ms);
      if (wanted == Phase::healthy) servers.pick().finish();
    }
    return false;
  };
  auto const restart = [&](Certificate const& certificate) {
    nginx.reset();
    install(certificate);
    nginx = start();
  };
  restart(world.authority.issue("DNS:api.internal", -60));
  CHECK(reaches(Phase::ejected));
  CHECK([&] {
    for (int i = 0; i < 500; ++i, std::this_thread::sleep_for(10ms))
      for (auto const& each : monitor.history("nginx"))
        if (each.cause.find("expired") != std::string::npos) return true;
    return false;
  }());
  restart(world.authority.issue("DNS:api.internal"));
  CHECK(reaches(Phase::healthy));
}

}  // namespace integration_servers_https
