// JSON Schema and reference page, from the one table of keys.
#include "policy/text/json_text.h"
#include "policy/text/keys.h"
#include "policy/text/sets.h"

namespace weir::policy {

namespace {

std::string list_schema(std::string_view pattern) {
  JsonText items = JsonText::object();
  items.add("type", "string");
  if (!pattern.empty()) items.add("pattern", pattern);
  JsonText list = JsonText::object();
  list.add("type", "array").add_raw("items", items.text());
  return list.text();
}

std::string either_schema(std::string_view pattern) {
  JsonText number = JsonText::object();
  number.add("type", "integer").add("minimum", std::uint64_t{1});
  JsonText text = JsonText::object();
  text.add("type", "string").add("pattern", pattern);
  JsonText any = JsonText::array();
  any.push_raw(number.text()).push_raw(text.text());
  return JsonText::object().add_raw("anyOf", any.text()).text();
}

std::string words_schema(std::span<const std::string_view> words) {
  JsonText list = JsonText::array();
  for (const std::string_view word : words) list.push(word);
  return JsonText::object().add_raw("enum", list.text()).text();
}

std::string table_schema(std::string_view table, KeyPlace place);

// What a value of the key must look like; without its description.
std::string value_schema(const KeySpec& key) {
  switch (key.type) {
    case KeyType::version:
      return R"({"const":1})";
    case KeyType::mode:
      return words_schema(mode_words());
    case KeyType::boolean:
      return R"({"type":"boolean"})";
    case KeyType::targets:
    case KeyType::lists:
    case KeyType::addresses:
    case KeyType::prefixes:
    case KeyType::name_servers:
    case KeyType::dns_types:
      return list_schema("");
    case KeyType::action:
      return R"({"enum":["allow","deny"]})";
    case KeyType::table:
      return table_schema(key.name, KeyPlace::policy);
    case KeyType::tables:
      return R"({"type":"array","items":)" + table_schema(key.name, KeyPlace::policy) + "}";
    case KeyType::count:
      return R"({"type":"integer","minimum":1})";
    case KeyType::size:
    case KeyType::duration:
      return either_schema("^[0-9]+[0-9a-zA-Z]*$");
    case KeyType::rate:
      return R"({"type":"string","pattern":"^[0-9]+[kMG]?bit(/s)?$"})";
    case KeyType::publishes:
      return list_schema(":");
  }
  return "{}";
}

std::string table_schema(std::string_view table, KeyPlace place) {
  JsonText properties = JsonText::object();
  JsonText required = JsonText::array();
  for (const KeySpec& key : policy_keys()) {
    const bool here = key.table == table && (key.place == KeyPlace::both || key.place == place);
    if (!here) continue;
    std::string schema = value_schema(key);
    schema.pop_back();
    properties.add_raw(key.name, schema + ",\"description\":" + json_string(std::string(key.doc)) + "}");
    const bool needed = key.id == KeyId::version || key.id == KeyId::rule_action || key.id == KeyId::rule_to;
    if (needed) required.push(key.name);
  }
  JsonText object = JsonText::object();
  object.add("type", "object").add_raw("properties", properties.text()).add_raw("required", required.text());
  return object.add_raw("additionalProperties", "false").text();
}

// Indents a compact document by two spaces a level, for readers and for line-wise differences.
std::string indented(std::string_view compact) {
  std::string out;
  std::size_t depth = 0;
  bool quoted = false;
  const auto new_line = [&] { out += "\n" + std::string(2 * depth, ' '); };
  for (std::size_t i = 0; i < compact.size(); ++i) {
    const char c = compact[i];
    if (quoted || c == '"') {
      out += c;
      if (c == '\\') out += compact[++i];
      if (c == '"') quoted = !quoted;
      continue;
    }
    const bool closes = c == '}' || c == ']';
    const bool opens = c == '{' || c == '[';
    const bool empty = opens && (compact[i + 1] == '}' || compact[i + 1] == ']');
    if (closes && out.back() != '{' && out.back() != '[') {
      --depth;
      new_line();
    }
    out += c;
    if (c == ':') out += ' ';
    if (c == ',') new_line();
    if (opens && !empty) {
      ++depth;
      new_line();
    }
  }
  return out + "\n";
}

std::string key_heading(const KeySpec& key) {
  const std::string name(key.name);
  if (key.table.empty()) return "`" + name + "`";
  return key.table == "rules" ? "`[[rules]] " + name + "`" : "`" + std::string(key.table) + "." + name + "`";
}

std::string key_row(const KeySpec& key) {
  std::string row = "| " + key_heading(key) + " | " + std::string(describe(key.type)) + " | ";
  row += key.example.empty() ? "" : "`" + std::string(key.example) + "`";
  return row + " | " + std::string(key.doc) + " |\n";
}

std::string keys_table(KeyPlace place) {
  std::string text = "| key | value | example | meaning |\n| --- | --- | --- | --- |\n";
  for (const KeySpec& key : policy_keys()) {
    const bool here = place == KeyPlace::floor ? key.place == KeyPlace::floor : key.place != KeyPlace::floor;
    if (here) text += key_row(key);
  }
  return text;
}

std::string sets_table() {
  std::string text = "| set | what | anyone can receive data there | preset |\n| --- | --- | --- | --- |\n";
  for (const HostSet& set : host_sets()) {
    text += "| `@" + std::string(set.name) + "` | " + std::string(set.description) + " | " +
            (set.uploads == Uploads::yes ? "yes" : "no") + " | `" + preset_name(set) + "` |\n";
  }
  return text;
}

constexpr std::string_view kIntroduction = R"(# Policy files

<!-- Made from the table of keys in src/policy/text/keys.cc; a test compares. Do not edit. -->

A policy file is TOML. Unknown keys, duplicate keys, wrong types and targets that do not parse are errors that name file,
line, column and the nearest valid spelling; a policy that cannot be read starts nothing.

```toml
version = 1
mode    = "allowlist"
allow   = ["@pypi", "api.example.com:443", "udp://192.0.2.53:5353", "10.1.2.0/24:5432"]
deny    = ["*.tracking.example"]

[[rules]]
action = "deny"
to     = ["uploads.example.com"]

[dns]
types = ["MX"]

[limits]
max_flows = 256
```

In one layer `deny` is asked first, then `rules` in their order, then `allow`, then the default of the mode. The operator's
floor, the session and the run each are a layer, and every layer must allow.

What the language has and `weir run` does not enforce yet, it refuses at start ("not available in this version") instead of
ignoring it: published UDP ports and a `dns.upstream` with `tls://`. The other commands read them.

## Keys

)";

constexpr std::string_view kFloorHeading = R"(
## Keys of the operator's floor file only

)";

constexpr std::string_view kLimits = R"(
## Limits

Without a word in the policy every mode but `open` has `max_flows` 1024, `half_open` 64, `connects_per_second` 200,
`dns_queries_per_second` 100, `dns_names_per_minute` 600, `egress_bytes` 1G, `connect_timeout` 30s, `idle_timeout` 1h and
`udp_idle_timeout` 60s; `semitrusted` also `egress_bytes_total` 1G, `egress_rate` and `ingress_rate` 100Mbit/s. There is no word for
"none": write a number that is large enough.

What comes too fast is answered later, by up to 5 seconds: connections and flows that the policy allows, questions to the
resolver, names asked upstream (by a proxy on behalf of its guest, too). Who would wait longer is refused (`limit`; a DNS question
with SERVFAIL). Bytes of TCP over a rate wait for their turn; datagrams over it are lost, as on any slow link. Counts refuse
(`limit`). A quota that is used up resets the connection that wants more, to the byte, and refuses new ones (`quota`). Payload
counts, of an echo also its 8 bytes of header; not other headers and not DNS. `egress_bytes` is counted by the address that is
dialled: a name that leads to two addresses has it twice, and `egress_bytes_total` bounds both.

Connections to published ports count in `max_flows`. Their bytes are counted apart: `egress_bytes_total`, `ingress_bytes` and the
rates hold once for what the sandbox asks for and once for what comes in at its ports; `egress_bytes` does not hold there, since a
client is no destination that the sandbox chose.

Each refusal is an event that names the limit; so is each delay of a connection, question or name, repeats within a second as one.
A rate that slows bytes down is said once a minute.
)";

constexpr std::string_view kTargets = R"(
## Targets

`[proto://]destination[:ports]`

| written | means |
| --- | --- |
| `example.com` | that name only, TCP |
| `*.example.com` | every name below it, at any depth, not the name itself |
| `.example.com` | the name and every name below it |
| `192.0.2.7`, `10.0.0.0/8`, `2001:db8::1`, `fd00::/8` | addresses, every protocol |
| `[2001:db8::1]:443`, `fd00::/8:443` | IPv6 with ports |
| `@public @private @lan @loopback @link-local @special @host @any` | classes of addresses |
| `@metadata @multicast @sandboxes` | classes that can only be denied |
| `@pypi` ... | sets of hosts, below |
| `udp://192.0.2.53:5353`, `icmp://192.0.2.7` | one protocol only |
| `:443`, `:80,443`, `:8000-8999` | ports; without them any |

A name without a protocol is allowed for TCP and denied for everything. Wildcards over names of many owners (`*`, `*.com`,
`*.github.io`) are refused unless insisted on: `--insist broad=*.com`.

## Sets

)";

constexpr std::string_view kPresets = R"(
`CLOUD_METADATA_DENY` is the preset of all known metadata endpoints, for policies in mode `open`.
)";

constexpr std::string_view kLists = R"(
## Lists

`deny_lists` and `--deny-list` name files of names that are denied for every protocol and port. All lists of a policy together
may have 256 MiB, 16 million names and 255 files. In events and in `weir policy explain` the rule is `list FILE`.

| format | a line | what it denies |
| --- | --- | --- |
| `names` | `example.com`, `*.example.com`, `.example.com` | as in targets: the name, what is below it, both; `#` comments |
| `hosts` | `0.0.0.0 example.com other.example` | these names only; the address is `0.0.0.0`, `127.0.0.1`, `::` or `::1` |
| `adguard` | <code>&#124;&#124;example.com^</code> | the name and everything below it; `!` comments; lines of `names` and `hosts` too |
| `rpz` | `example.com CNAME .`, `*.example.com CNAME .` | the name; what is below it. `CNAME *.` and `rpz-drop.` deny as well |

The format is seen from the first line that is neither empty nor a `#` comment, or written in front: `rpz:malware.zone`.
Upper case, one trailing dot, Unicode names, CRLF, a byte order mark and repeated names are fine. `localhost`, `broadcasthost`
and the `ip6-` names that every hosts file has are skipped. Of a zone `$ORIGIN`, `$TTL`, SOA and its NS records are read:
the SOA record names the zone, must come before names that an `$ORIGIN` or a last dot makes absolute, and alone may have
several lines.

Every other line is invalid, because leaving it out silently would deny less than the list says: exceptions (`@@`,
`rpz-passthru.`), modifiers other than `$important`, regular expressions, cosmetic rules, addresses, records that rewrite answers.
Then nothing starts, and the error has the numbers of the first ten such lines; `--skip-invalid` leaves them out and says at start
how many. A list that names nothing is an error too: a download that failed must not mean that all is well.

The operator's floor file takes no lists, and says so: it is compiled anew at every start of every sandbox, and a list would be
read each time. What few names an operator denies to everybody go into its `deny`.

## Compiled policies

`weir policy compile --policy FILE -o IMAGE` does all that once. The image holds the policy and its lists, no floor: the operator's
floor of the machine is put around it at every start, and an image that brings a floor of its own is refused. `--policy IMAGE` takes
it wherever a policy file goes, and flags add to it as they do to a file. An image that was changed, cut off or made by another
version of weir is refused: compile it again. Who may write the image decides what the policy is, as with a policy file.
)";

constexpr std::string_view kCases = R"(
## Cases

`weir policy test FILE CASES` reads one case per line: `allow` or `refuse`, a target, then optionally `as NAME` (a name that
led to the address), what the first bytes say (`sni NAME`, `host NAME`, `-` for none, or `opaque`), and the expected reason.

```
allow  pypi.org:443
refuse 169.254.169.254:80                          floor
refuse 93.184.215.14:443 as example.com sni other.example   sni-mismatch
```
)";

}  // namespace

std::string policy_schema_json() {
  std::string body = table_schema("", KeyPlace::policy);
  body.erase(0, 1);
  return indented(R"({"$schema":"https://json-schema.org/draft/2020-12/schema","title":"weir policy",)" + body);
}

std::string policy_reference_markdown() {
  return std::string(kIntroduction) + keys_table(KeyPlace::policy) + std::string(kFloorHeading) +
         keys_table(KeyPlace::floor) + std::string(kLimits) + std::string(kTargets) + sets_table() +
         std::string(kPresets) + std::string(kLists) + std::string(kCases);
}

}  // namespace weir::policy
