#include "daemon/http_reader.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

namespace weir::daemon {

namespace {

namespace http = boost::beast::http;
using wire::ErrorCode;
using wire::refuse;

std::unexpected<wire::Refusal> refusal_of(const boost::system::error_code& failed) {
  if (failed == http::error::header_limit || failed == http::error::body_limit) {
    return refuse(ErrorCode::too_large, "the head of the request is longer than 64 KiB");
  }
  // Beast's texts are its own and hold nothing of the request's.
  return refuse(ErrorCode::bad_request, "no HTTP request: " + failed.message());
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

std::string media_type(std::string_view text) {
  std::string_view type = text.substr(0, text.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return lower(type);
}

}  // namespace

struct HttpReader::Parser {
  http::request_parser<http::buffer_body> beast;
};

HttpReader::HttpReader() : parser_(std::make_unique<Parser>()) {
  parser_->beast.header_limit(kMaxHead);
  // Whoever reads the body knows its own limit.
  parser_->beast.body_limit(boost::none);
}
HttpReader::~HttpReader() = default;
HttpReader::HttpReader(HttpReader&&) noexcept = default;
HttpReader& HttpReader::operator=(HttpReader&&) noexcept = default;

wire::Answer<std::size_t> HttpReader::take_head(std::string_view bytes) {
  boost::system::error_code failed;
  const std::size_t used = parser_->beast.put(boost::asio::buffer(bytes.data(), bytes.size()), failed);
  if (failed && failed != http::error::need_more) return refusal_of(failed);
  return used;
}

bool HttpReader::is_head() const {
  return parser_->beast.is_header_done();
}

RequestHead HttpReader::head() const {
  const auto& message = parser_->beast.get();
  const auto field = [&](http::field name) { return std::string(message[name]); };
  RequestHead head;
  head.method = std::string(message.method_string());
  head.target = std::string(message.target());
  head.authorization = field(http::field::authorization);
  head.content_type = media_type(message[http::field::content_type]);
  head.accept = field(http::field::accept);
  head.idempotency_key = std::string(message["Idempotency-Key"]);
  head.expects_continue = lower(message[http::field::expect]) == "100-continue";
  head.keep_alive = message.keep_alive();
  head.is_upgrade = boost::beast::websocket::is_upgrade(message);
  head.websocket_key = field(http::field::sec_websocket_key);
  head.websocket_version = field(http::field::sec_websocket_version);
  head.is_old = message.version() < 11;
  const auto length = parser_->beast.content_length();
  if (length) head.content_length = *length;
  head.has_body = parser_->beast.chunked() || (length && *length > 0);
  return head;
}

wire::Answer<HttpReader::Step> HttpReader::take_body(std::string_view bytes, MutableBytes out) {
  auto& body = parser_->beast.get().body();
  body.data = out.data();
  body.size = out.size();
  boost::system::error_code failed;
  Step step;
  step.used = parser_->beast.put(boost::asio::buffer(bytes.data(), bytes.size()), failed);
  step.made = out.size() - body.size;
  if (failed && failed != http::error::need_more && failed != http::error::need_buffer) return refusal_of(failed);
  return step;
}

bool HttpReader::is_done() const {
  return parser_->beast.is_done();
}

}  // namespace weir::daemon
