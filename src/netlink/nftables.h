// nf_tables transactions: tables, chains and the few expressions that the capture needs, as raw netlink.
//
// Registers: each rule loads into NFT_REG32_00 and compares or masks there. A transaction is atomic: either every
// message takes effect or none.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "netlink/message.h"

namespace weir::netlink {

// One nf_tables transaction over one table of family inet.
class NftTransaction {
 public:
  explicit NftTransaction(std::string_view table);

  // `type` "filter" or "route"; `hook` NF_INET_*; `priority` as in nft (-150 = mangle, 0 = filter). Policy accept.
  void add_chain(std::string_view chain, std::string_view type, std::uint32_t hook, std::int32_t priority);

  // A rule is its expressions, in order, between begin_rule() and end_rule().
  void begin_rule(std::string_view chain);
  void end_rule();

  void match_family(std::uint8_t nfproto);  // meta nfproto
  void match_l4(std::uint8_t protocol);     // meta l4proto
  void match_input_name(std::string_view name);
  // (payload & mask) == value, at most 16 bytes; `value` is masked already.
  void match_network(std::uint32_t offset, Bytes mask, Bytes value);
  void match_transport(std::uint32_t offset, Bytes mask, Bytes value);
  void set_mark(std::uint32_t mark);
  void tproxy_to(std::uint16_t port);
  void reject_with_tcp_reset();
  void accept();

  // Closes the transaction; send it with Socket::transact over NETLINK_NETFILTER.
  Batch& commit();

 private:
  std::size_t open_expression(std::string_view name);
  void close_expression(std::size_t data);
  void load_meta(std::uint32_t key);
  void match_payload(std::uint32_t base, std::uint32_t offset, Bytes mask, Bytes value);
  void compare(Bytes value);
  void immediate(Bytes value);

  Batch batch_;
  std::string_view table_;
  std::size_t expressions_ = 0;
  std::size_t element_ = 0;
};

}  // namespace weir::netlink
