// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/survey.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <ranges>
#include <unordered_set>

#include "base/check.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr BlockRange whole_device{DeviceBlock{0}, device_end};

class Surveyor {
 public:
  Surveyor(PoolState& pool, NodeId leaf) : pool_(pool), leaf_(leaf) {
    for (ImagePtr image : {pool.newest_image(), pool.older_image()})
      if (image && std::ranges::find(out_.images, image) == out_.images.end())
        out_.images.push_back(std::move(image));
  }

  Task<Survey> run() {
    for (const ImagePtr& image : out_.images)
      for (const ImageMap& map : image->maps) {
        const NodeRef root = ref_in(*image, map.root);
        if (root.id == NodeId::none) continue;
        if (roots_.insert(root).second)
          out_.links.push_back({{}, root, find_in(*image, root)->level, whole_device});
        out_.roots.push_back({root, image, map.map});
        meet(image, root);
      }
    for (size_t read = 1; !waiting_.empty(); ++read) {
      const auto highest = std::prev(waiting_.end());
      const auto first = highest->second.begin();
      const NodeRef node = first->first;
      const std::vector<ImagePtr> images = std::move(first->second);
      highest->second.erase(first);
      if (highest->second.empty()) waiting_.erase(highest);
      Task<void> reading = read_node(node, images);
      co_await reading;
      if (read % nodes_read_a_turn == 0) co_await Yield{};
    }
    co_return std::move(out_);
  }

 private:
  void meet(const ImagePtr& image, NodeRef node) {
    const NodeEntry* entry = find_in(*image, node);
    if (!entry || entry->level == 0) return;
    std::vector<ImagePtr>& images = waiting_[entry->level][node];
    if (std::ranges::find(images, image) == images.end()) images.push_back(image);
  }

  Task<void> read_node(NodeRef ref, std::vector<ImagePtr> images) {
    const NodeEntry entry = *find_in(*images.front(), ref);
    NodeBlock block = pool_.nodes.try_get(entry, false);
    if (!block) {
      Task<Result<NodeBlock>> reading = pool_.nodes.get_as_it_is(ref.id, entry);
      Result<NodeBlock> got = co_await reading;
      if (!got) {
        out_.lost.push_back({ref, got.error().code == Code::io});
        co_return;
      }
      block = std::move(*got);
    }
    const Result<Node> node = unpack_node(block->span());
    if (!node) {
      out_.lost.push_back({ref, false});
      co_return;
    }
    for (const ImagePtr& image : images) {
      const size_t before = out_.links.size();
      out_.add_children(*image, ref, *node);
      if (entry.level == 1 && leaf_ != NodeId::none) {
        const auto added = out_.links.begin() + static_cast<std::ptrdiff_t>(before);
        const auto is_other = [this](const Survey::Link& link) { return link.child.id != leaf_; };
        out_.links.erase(std::remove_if(added, out_.links.end(), is_other), out_.links.end());
        continue;
      }
      for (const Child& child : node->children) meet(image, ref_in(*image, child.id));
    }
  }

  PoolState& pool_;
  const NodeId leaf_;
  Survey out_;
  std::unordered_set<NodeRef, NodeRef::Hash> roots_;
  // By level, and which images have them.
  std::map<uint32_t, std::unordered_map<NodeRef, std::vector<ImagePtr>, NodeRef::Hash>> waiting_;
};

}  // namespace

NodeRef ref_in(const Image& image, NodeId id) {
  const NodeEntry* entry = image.nodes.find(id);
  return entry ? NodeRef{id, entry->checkpoint} : NodeRef{};
}

const NodeEntry* find_in(const Image& image, NodeRef node) {
  const NodeEntry* entry = image.nodes.find(node.id);
  return entry && entry->checkpoint == node.version ? entry : nullptr;
}

std::vector<std::pair<NodeId, BlockRange>> children_of(const Node& node) {
  std::vector<std::pair<NodeId, BlockRange>> out;
  const std::vector<Child>& children = node.children;
  for (size_t i = 0; i < children.size(); ++i) {
    const DeviceBlock end = i + 1 < children.size() ? children[i + 1].begin : node.header.end;
    out.push_back({children[i].id, {children[i].begin, end}});
  }
  return out;
}

void Survey::add_children(const Image& image, NodeRef parent, const Node& node) {
  for (const auto& [id, range] : children_of(node))
    if (const NodeRef child = ref_in(image, id); child.id != NodeId::none)
      links.push_back({parent, child, node.header.level - 1, range});
}

void Survey::sort_links() {
  std::ranges::stable_sort(links, std::ranges::greater{}, &Link::level);
}

const NodeEntry& Survey::entry(NodeRef node) const {
  const NodeEntry* found = nullptr;
  for (size_t i = 0; i < images.size() && !found; ++i) found = find_in(*images[i], node);
  LAMINA_CHECK(found);
  return *found;
}

Result<NodePlace> Survey::place_of(NodeRef node) const {
  for (const ImagePtr& image : images) {
    if (!find_in(*image, node)) continue;
    NodePlace place{image, image == images.front(), {}, {}};
    // Whoever is above it has it.
    std::unordered_set<NodeRef, NodeRef::Hash> above{node};
    for (const Link& link : std::views::reverse(links)) {
      if (!above.contains(link.child)) continue;
      if (link.parent.id != NodeId::none && !find_in(*image, link.parent)) continue;
      if (link.child == node) place.range = link.range;
      above.insert(link.parent);
    }
    for (const Root& root : roots)
      if (root.image == image && above.contains(root.node)) place.maps.push_back(root.map);
    std::ranges::sort(place.maps);
    if (!place.maps.empty()) return place;
  }
  return fail(Code::corrupt, "no map refers to it, or what does is lost as well");
}

// Of three maps the two that diverged first are one pair of at least two: so who diverged from one
// of the place's maps first tells for all of them.
Divergences::Divergences(const Survey& survey, const NodePlace& place, NodeRef node)
    : from_(place.image->lineage, place.maps.front()) {
  for (const ImageMap& map : place.image->maps) living_.insert(map.map);
  hidden_ = std::ranges::any_of(survey.lost, [&](const Survey::Lost& lost) {
    return lost.node != node && find_in(*place.image, lost.node);
  });
  for (const MapId map : place.maps) own_ = std::min(own_, from_(map));
  for (const Survey::Root& root : survey.roots) {
    if (root.image != place.image) continue;
    Sequence& at = of_.try_emplace(root.node, own_).first->second;
    at = std::min(at, from_(root.map));
  }
  for (const Survey::Link& link : survey.links) {
    const auto above = of_.find(link.parent);
    if (above == of_.end() || !find_in(*place.image, link.child)) continue;
    const Sequence until = above->second;
    Sequence& at = of_.try_emplace(link.child, until).first->second;
    at = std::min(at, until);
  }
}

bool Divergences::allow(NodeRef node, const NodeHeader& header) const {
  if (header.birth > until(node)) return false;
  const Sequence since = from_(header.map);
  const bool is_known = since > 0 || living_.contains(header.map);
  return is_known ? header.birth <= since : !hidden_;
}

Task<Survey> survey(PoolState& pool, NodeId leaf) {
  Surveyor surveyor(pool, leaf);
  Task<Survey> running = surveyor.run();
  co_return co_await running;
}

}  // namespace lamina
