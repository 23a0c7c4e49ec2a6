#include "netlink/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <string>

namespace weir::netlink {

namespace {

constexpr std::uint16_t kNew = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

nfgenmsg header_of(std::uint8_t family, std::uint16_t resource) {
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  header.res_id = htons(resource);
  return header;
}

std::uint16_t nft_type(std::uint16_t message) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | message);
}

}  // namespace

NftTransaction::NftTransaction(std::string_view table) : table_(table) {
  batch_.begin(NFNL_MSG_BATCH_BEGIN, 0, header_of(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  batch_.begin(nft_type(NFT_MSG_NEWTABLE), kNew, header_of(NFPROTO_INET, 0));
  batch_.string(NFTA_TABLE_NAME, table_);
}

void NftTransaction::add_chain(std::string_view chain, std::string_view type, std::uint32_t hook,
                               std::int32_t priority) {
  batch_.begin(nft_type(NFT_MSG_NEWCHAIN), kNew, header_of(NFPROTO_INET, 0));
  batch_.string(NFTA_CHAIN_TABLE, table_);
  batch_.string(NFTA_CHAIN_NAME, chain);
  const auto mark = batch_.open(NFTA_CHAIN_HOOK);
  batch_.be32(NFTA_HOOK_HOOKNUM, hook);
  batch_.be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(priority));
  batch_.close(mark);
  batch_.be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
  batch_.string(NFTA_CHAIN_TYPE, type);
}

void NftTransaction::begin_rule(std::string_view chain) {
  batch_.begin(nft_type(NFT_MSG_NEWRULE), static_cast<std::uint16_t>(NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND),
               header_of(NFPROTO_INET, 0));
  batch_.string(NFTA_RULE_TABLE, table_);
  batch_.string(NFTA_RULE_CHAIN, chain);
  expressions_ = batch_.open(NFTA_RULE_EXPRESSIONS);
}

void NftTransaction::end_rule() {
  batch_.close(expressions_);
}

std::size_t NftTransaction::open_expression(std::string_view name) {
  element_ = batch_.open(NFTA_LIST_ELEM);
  batch_.string(NFTA_EXPR_NAME, name);
  return batch_.open(NFTA_EXPR_DATA);
}

void NftTransaction::close_expression(std::size_t data) {
  batch_.close(data);
  batch_.close(element_);
}

void NftTransaction::load_meta(std::uint32_t key) {
  const auto data = open_expression("meta");
  batch_.be32(NFTA_META_DREG, NFT_REG32_00);
  batch_.be32(NFTA_META_KEY, key);
  close_expression(data);
}

void NftTransaction::compare(Bytes value) {
  const auto data = open_expression("cmp");
  batch_.be32(NFTA_CMP_SREG, NFT_REG32_00);
  batch_.be32(NFTA_CMP_OP, NFT_CMP_EQ);
  const auto operand = batch_.open(NFTA_CMP_DATA);
  batch_.attribute(NFTA_DATA_VALUE, value);
  batch_.close(operand);
  close_expression(data);
}

void NftTransaction::immediate(Bytes value) {
  const auto data = open_expression("immediate");
  batch_.be32(NFTA_IMMEDIATE_DREG, NFT_REG32_00);
  const auto operand = batch_.open(NFTA_IMMEDIATE_DATA);
  batch_.attribute(NFTA_DATA_VALUE, value);
  batch_.close(operand);
  close_expression(data);
}

void NftTransaction::match_family(std::uint8_t nfproto) {
  load_meta(NFT_META_NFPROTO);
  compare({&nfproto, 1});
}

void NftTransaction::match_l4(std::uint8_t protocol) {
  load_meta(NFT_META_L4PROTO);
  compare({&protocol, 1});
}

void NftTransaction::match_input_name(std::string_view name) {
  load_meta(NFT_META_IIFNAME);
  // The kernel compares the whole IFNAMSIZ register, zero padded.
  std::string padded(name);
  padded.resize(16);
  compare(as_bytes(padded));
}

void NftTransaction::match_payload(std::uint32_t base, std::uint32_t offset, Bytes mask, Bytes value) {
  auto data = open_expression("payload");
  batch_.be32(NFTA_PAYLOAD_DREG, NFT_REG32_00);
  batch_.be32(NFTA_PAYLOAD_BASE, base);
  batch_.be32(NFTA_PAYLOAD_OFFSET, offset);
  batch_.be32(NFTA_PAYLOAD_LEN, static_cast<std::uint32_t>(value.size()));
  close_expression(data);
  data = open_expression("bitwise");
  batch_.be32(NFTA_BITWISE_SREG, NFT_REG32_00);
  batch_.be32(NFTA_BITWISE_DREG, NFT_REG32_00);
  batch_.be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(value.size()));
  auto operand = batch_.open(NFTA_BITWISE_MASK);
  batch_.attribute(NFTA_DATA_VALUE, mask);
  batch_.close(operand);
  operand = batch_.open(NFTA_BITWISE_XOR);
  const std::array<std::uint8_t, 16> zero{};
  batch_.attribute(NFTA_DATA_VALUE, Bytes(zero).first(value.size()));
  batch_.close(operand);
  close_expression(data);
  compare(value);
}

void NftTransaction::match_network(std::uint32_t offset, Bytes mask, Bytes value) {
  match_payload(NFT_PAYLOAD_NETWORK_HEADER, offset, mask, value);
}

void NftTransaction::match_transport(std::uint32_t offset, Bytes mask, Bytes value) {
  match_payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, mask, value);
}

void NftTransaction::set_mark(std::uint32_t mark) {
  immediate({reinterpret_cast<const std::uint8_t*>(&mark), sizeof mark});
  const auto data = open_expression("meta");
  batch_.be32(NFTA_META_KEY, NFT_META_MARK);
  batch_.be32(NFTA_META_SREG, NFT_REG32_00);
  close_expression(data);
}

void NftTransaction::tproxy_to(std::uint16_t port) {
  const std::array<std::uint8_t, 2> network_order = {static_cast<std::uint8_t>(port >> 8),
                                                     static_cast<std::uint8_t>(port)};
  immediate(network_order);
  const auto data = open_expression("tproxy");
  batch_.be32(NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC);  // both families, no address
  batch_.be32(NFTA_TPROXY_REG_PORT, NFT_REG32_00);
  close_expression(data);
}

void NftTransaction::reject_with_tcp_reset() {
  const auto data = open_expression("reject");
  batch_.be32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
  batch_.u8(NFTA_REJECT_ICMP_CODE, 0);
  close_expression(data);
}

void NftTransaction::accept() {
  const auto data = open_expression("immediate");
  batch_.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  const auto operand = batch_.open(NFTA_IMMEDIATE_DATA);
  const auto verdict = batch_.open(NFTA_DATA_VERDICT);
  batch_.be32(NFTA_VERDICT_CODE, NF_ACCEPT);
  batch_.close(verdict);
  batch_.close(operand);
  close_expression(data);
}

Batch& NftTransaction::commit() {
  batch_.begin(NFNL_MSG_BATCH_END, 0, header_of(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  return batch_;
}

}  // namespace weir::netlink
