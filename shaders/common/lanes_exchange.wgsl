// The lanes of a subgroup exchange words without workgroup memory, so a team merges a row without a barrier. They must lie
// side by side in the workgroup; otherwise the partials carry FLAG_SCATTERED. Compared with workgroup memory on an H100, 512
// Ki rows of 64 fell from 214 to 135 us, and 32 Mi binary losses from 123 to 100 us.

// Lanes per subgroup: a power of two, at least 4. The host sets the device's value.
override SUBGROUP_LANES: u32 = 32u;
const MOST_SUBGROUPS: u32 = WORKGROUP / 4u;
// Partials that a lane merges between two barriers: those of all subgroups.
const MERGED_AT_ONCE: u32 = MOST_SUBGROUPS;

// The word of the lane whose number in the subgroup differs from this lane's in the bits of `mask`.
fn exchanged(word: u32, mask: u32) -> u32 { return subgroupShuffleXor(word, mask); }

fn is_in_order(lane: u32) -> bool {
    let own = lane % SUBGROUP_LANES;
    let is_own_place = subgroupBroadcastFirst(lane) == lane - own && subgroupExclusiveAdd(1u) == own;
    return subgroupAll(is_own_place) && subgroupAdd(1u) == SUBGROUP_LANES;
}
