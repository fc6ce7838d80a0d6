// SPDX-License-Identifier: Apache-2.0
#include "engine/tables.h"

#include <cstring>
#include <limits>
#include <type_traits>

#include "base/check.h"
#include "blobs/segment_format.h"
#include "blobs/varint.h"
#include "engine/tables_format.h"

namespace lamina {
namespace {

// 1: before there were external origins; 2: before anything was scrubbed; 3: before members' sizes
// of segments were told, and anything was suspect; 4, of the same layout: before the checksums of
// moved segments lay at both ends. They are read as having none of it.
constexpr uint64_t stream_version = 5, oldest_version = 1;

class Writer {
 public:
  void number(uint64_t value) { put_varint(out, value); }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void number(Enum value) { put_varint(out, raw(value)); }
  void text(std::string_view value) {
    number(value.size());
    const auto* p = reinterpret_cast<const std::byte*>(value.data());
    out.insert(out.end(), p, p + value.size());
  }
  std::vector<std::byte> out;
};

// Gives zeroes once anything was missing; whether that happened is asked at the end.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}
  uint64_t number() {
    const auto value = get_varint(in_);
    if (!value) bad_ = true;
    return value.value_or(0);
  }
  uint64_t at_most(uint64_t limit) {
    const uint64_t value = number();
    if (value > limit) bad_ = true;
    return bad_ ? 0 : value;
  }
  template <class Enum>
  Enum id() {
    return Enum{static_cast<std::underlying_type_t<Enum>>(
        at_most(std::numeric_limits<std::underlying_type_t<Enum>>::max()))};
  }
  std::string text(size_t limit) {
    const uint64_t size = at_most(limit);
    if (bad_ || size > in_.size()) {
      bad_ = true;
      return {};
    }
    std::string value(reinterpret_cast<const char*>(in_.data()), size);
    in_ = in_.subspan(size);
    return value;
  }
  // How many rows follow; each takes at least one byte.
  uint64_t rows() { return at_most(in_.size()); }
  std::span<const std::byte>& rest() { return in_; }
  void refuse() { bad_ = true; }
  bool bad() const { return bad_; }

 private:
  std::span<const std::byte> in_;
  bool bad_ = false;
};

void put(Writer& w, const Attributes& a) {
  w.text(pack_attributes(a, false));
}

Attributes get_attributes(Reader& r) {
  auto value = unpack_attributes(r.text(128));
  if (!value) {
    r.refuse();
    return {};
  }
  return value->attributes;
}

void put(Writer& w, const std::map<std::string, std::string, std::less<>>& xattrs) {
  w.number(xattrs.size());
  for (const auto& [name, value] : xattrs) {
    w.text(name);
    w.text(value);
  }
}

std::map<std::string, std::string, std::less<>> get_xattrs(Reader& r) {
  std::map<std::string, std::string, std::less<>> xattrs;
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) {
    std::string name = r.text(max_name_bytes);
    xattrs[std::move(name)] = r.text(max_xattr_value_bytes);
  }
  return xattrs;
}

void put(Writer& w, const DeviceRow& d) {
  w.number(d.id);
  w.text(d.name);
  w.number(d.size_bytes);
  put(w, d.attributes);
  put(w, d.xattrs);
  w.number(d.created_ns);
  w.number(uint64_t{d.read_only});
  w.number(d.origin);
  w.number(d.reserved_blocks);
  w.number(d.last_fork);
  w.number(d.last_share);
  w.number(d.last_copy);
  w.number(d.origins.size());
  for (const Generation origin : d.origins) w.number(origin);
  w.number(d.map);
  w.number(d.root);
  w.number(d.mapped_blocks);
  w.number(d.extents);
}

DeviceRow get_device(Reader& r, bool origins) {
  DeviceRow d;
  d.id = r.id<DeviceId>();
  d.name = r.text(max_name_bytes);
  d.size_bytes = r.at_most(max_device_bytes);
  d.attributes = get_attributes(r);
  d.xattrs = get_xattrs(r);
  d.created_ns = r.number();
  d.read_only = r.at_most(1) != 0;
  d.origin = r.id<DeviceId>();
  d.reserved_blocks = r.number();
  d.last_fork = r.number();
  d.last_share = r.number();
  d.last_copy = r.number();
  for (uint64_t i = origins ? r.rows() : 0; i > 0 && !r.bad(); --i)
    d.origins.insert(r.id<Generation>());
  d.map = r.id<MapId>();
  d.root = r.id<NodeId>();
  d.mapped_blocks = r.number();
  d.extents = r.number();
  return d;
}

void put(Writer& w, const Segment& s) {
  w.number(s.name.blob);
  w.number(uint64_t{s.name.index});
  w.number(s.name.generation);
  w.number(uint64_t{raw(s.use)});
  w.number(uint64_t{raw(s.kind)});
  w.number(s.settled);
  w.number(s.dead_in);
  w.number(zigzag(s.live_blocks));
  w.number(zigzag(s.homes));
  w.number(uint64_t{s.used_blocks});
  w.number(s.oldest);
  w.number(uint64_t{s.addressed});
}

Segment get_segment(Reader& r) {
  Segment s;
  s.name.blob = r.id<BlobId>();
  s.name.index = static_cast<uint32_t>(r.at_most(UINT32_MAX));
  s.name.generation = r.id<Generation>();
  const uint64_t use = r.at_most(raw(SegmentUse::stuck));
  if (use == 0) r.refuse();
  s.use = static_cast<SegmentUse>(use);
  const uint64_t kind = r.at_most(raw(SegmentClass::frames));
  if (kind == 0) r.refuse();
  s.kind = static_cast<SegmentClass>(kind);
  s.settled = r.number();
  s.dead_in = r.number();
  s.live_blocks = unzigzag(r.number());
  s.homes = unzigzag(r.number());
  s.used_blocks = static_cast<uint32_t>(r.at_most(UINT32_MAX));
  s.oldest = r.number();
  s.addressed = static_cast<uint32_t>(r.at_most(UINT32_MAX));
  return s;
}

void put(Writer& w, const std::map<Generation, Origin>& origins) {
  w.number(origins.size());
  for (const auto& [generation, origin] : origins) {
    const Entry entry = origin_entry(origin);
    w.number(generation);
    w.text(entry.value);
  }
}

std::map<Generation, Origin> get_origins(Reader& r) {
  std::map<Generation, Origin> origins;
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) {
    Entry entry;
    entry.address.generation = r.id<Generation>();
    entry.value = r.text(entry_value_limit);
    auto origin = unpack_origin(entry);
    if (origin)
      origins[origin->generation] = std::move(*origin);
    else
      r.refuse();
  }
  return origins;
}

void put(Writer& w, const ScrubPosition& scrub) {
  w.number(scrub.next);
  w.number(scrub.end);
  w.number(scrub.done_bytes);
  w.number(scrub.bad_bytes);
  w.number(scrub.began_ns);
  w.number(scrub.ended_ns);
  w.number(uint64_t{scrub.stopped});
}

ScrubPosition get_scrub(Reader& r) {
  ScrubPosition scrub;
  scrub.next = r.id<Generation>();
  scrub.end = r.id<Generation>();
  scrub.done_bytes = r.number();
  scrub.bad_bytes = r.number();
  scrub.began_ns = r.number();
  scrub.ended_ns = r.number();
  scrub.stopped = r.at_most(1) != 0;
  return scrub;
}

void put(Writer& w, const std::map<BlobId, uint32_t>& segment_blocks) {
  w.number(segment_blocks.size());
  for (const auto& [blob, blocks] : segment_blocks) {
    w.number(blob);
    w.number(uint64_t{blocks});
  }
}

std::map<BlobId, uint32_t> get_segment_blocks(Reader& r) {
  std::map<BlobId, uint32_t> segment_blocks;
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) {
    const auto blob = r.id<BlobId>();
    const auto blocks = static_cast<uint32_t>(r.at_most(max_segment_blocks));
    if (blocks < min_segment_blocks) r.refuse();
    segment_blocks[blob] = blocks;
  }
  return segment_blocks;
}

void put(Writer& w, const std::vector<LostRange>& ranges) {
  w.number(ranges.size());
  for (const LostRange& l : ranges) {
    w.number(l.device);
    w.number(l.range.begin.value);
    w.number(l.range.length().value);
  }
}

std::vector<LostRange> get_ranges(Reader& r) {
  std::vector<LostRange> ranges;
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) {
    LostRange l;
    l.device = r.id<DeviceId>();
    l.range.begin = DeviceBlock{r.at_most(device_end.value)};
    l.range.end = l.range.begin + BlockCount{r.at_most(device_end.value)};
    ranges.push_back(l);
  }
  return ranges;
}

}  // namespace

const size_t tables_page_bytes = sizeof(tables_format::Page::bytes);

std::vector<std::byte> pack_tables(const Tables& t) {
  Writer w;
  w.number(stream_version);
  w.number(t.number);
  w.number(uint64_t{t.epoch});
  w.number(t.cut);
  w.number(t.next_device);
  w.number(t.next_map);
  w.number(t.next_node);
  w.number(t.next_generation);
  w.number(t.next_origin);
  put(w, t.origins);
  put(w, t.root);
  put(w, t.root_xattrs);
  w.number(t.epochs.size());
  for (const EpochCut& e : t.epochs) {
    w.number(uint64_t{e.epoch});
    w.number(e.cut);
  }
  w.number(t.devices.size());
  for (const DeviceRow& d : t.devices) put(w, d);
  w.number(t.used_blocks);
  w.number(t.lineage.size());
  for (const LineageRow& l : t.lineage) {
    w.number(l.map);
    w.number(l.parent);
    w.number(l.forked_at);
    w.number(l.device);
  }
  put(w, t.lost);
  put(w, t.suspect);
  put(w, t.scrub);
  put(w, t.segment_blocks);
  w.number(t.segments.size());
  for (const Segment& s : t.segments) put(w, s);
  t.nodes.pack(w.out);
  return std::move(w.out);
}

Result<Tables> unpack_tables(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Tables t;
  const uint64_t version = r.number();
  if (version < oldest_version || version > stream_version)
    return fail(
        Code::unsupported,
        "the pool was last written by another version of lamina: its tables are of version " +
            std::to_string(version) + ", and this one knows " + std::to_string(oldest_version) +
            " to " + std::to_string(stream_version) + "; use that one");
  t.number = r.number();
  t.epoch = static_cast<Epoch>(r.at_most(UINT32_MAX));
  t.cut = r.number();
  t.next_device = r.id<DeviceId>();
  t.next_map = r.id<MapId>();
  t.next_node = r.id<NodeId>();
  t.next_generation = r.id<Generation>();
  const bool origins = version > 1;
  if (origins) {
    t.next_origin = r.id<Generation>();
    t.origins = get_origins(r);
  }
  t.root = get_attributes(r);
  t.root_xattrs = get_xattrs(r);
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) {
    const auto epoch = static_cast<Epoch>(r.at_most(UINT32_MAX));
    t.epochs.push_back({epoch, r.number()});
  }
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) t.devices.push_back(get_device(r, origins));
  t.used_blocks = r.number();
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) {
    LineageRow l;
    l.map = r.id<MapId>();
    l.parent = r.id<MapId>();
    l.forked_at = r.number();
    l.device = r.id<DeviceId>();
    t.lineage.push_back(l);
  }
  t.lost = get_ranges(r);
  if (version > 3) t.suspect = get_ranges(r);
  if (version > 2) t.scrub = get_scrub(r);
  if (version > 3) t.segment_blocks = get_segment_blocks(r);
  for (uint64_t i = r.rows(); i > 0 && !r.bad(); --i) t.segments.push_back(get_segment(r));
  if (r.bad()) return fail(Code::corrupt, "the checkpoint's tables do not decode");
  auto nodes = NodeTable::unpack(r.rest());
  if (!nodes) return forward_error(nodes);
  t.nodes = std::move(*nodes);
  if (!r.rest().empty()) return fail(Code::corrupt, "the checkpoint's tables are too long");
  return t;
}

void pack_tables_page(const TablesPage& page, const Secret& secret, const MetadataPlace& place,
                      std::span<std::byte> block) {
  LAMINA_CHECK(page.bytes.size() <= tables_page_bytes);
  tables_format::Page format{};
  format.magic = tables_format::magic;
  format.version.store(format_version);
  format.epoch.store(page.epoch);
  format.checkpoint.store(page.number);
  format.cut.store(page.cut);
  format.index.store(page.index);
  format.count.store(page.count);
  format.used.store(static_cast<uint32_t>(page.bytes.size()));
  std::memcpy(format.bytes.data(), page.bytes.data(), page.bytes.size());
  store_block(format, block);
  store_block_checksum(block, keyed_block_checksum(block, secret, place));
}

Result<TablesPage> unpack_tables_page(std::span<const std::byte> block, const Secret& secret,
                                      const MetadataPlace& place) {
  if (!has_magic(block, tables_format::magic))
    return fail(Code::corrupt, "no page of a checkpoint's tables is here");
  const auto format = load_block<tables_format::Page>(block);
  const uint32_t used = format.used.load();
  if (keyed_block_checksum(block, secret, place) != stored_block_checksum(block) ||
      format.version.load() != format_version || used > tables_page_bytes ||
      format.reserved.load() != 0 || format.index.load() >= format.count.load())
    return fail(Code::corrupt, "a page of a checkpoint's tables fails its checksum");
  const auto stream = block.subspan(offsetof(tables_format::Page, bytes), tables_page_bytes);
  if (!all_zero(stream.subspan(used)))
    return fail(Code::corrupt, "a page of a checkpoint's tables has something behind its end");
  TablesPage page;
  page.number = format.checkpoint.load();
  page.cut = format.cut.load();
  page.epoch = format.epoch.load();
  page.index = format.index.load();
  page.count = format.count.load();
  page.bytes = stream.first(used);
  return page;
}

}  // namespace lamina
