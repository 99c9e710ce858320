// The lanes of a team walk a row together; neighbouring lanes take neighbouring quads.

// Walks one lane's columns in chains. Called by every lane of the workgroup.
fn walk(place: Place, sample: Sample) -> Row {
    var row = row_zero();
    if !sample.kept { return row; }
    var quads = quads_of(place.member, sample.first, sample.first + params.columns);
    while quads.next < quads.end {
        var long_chain = row_zero();
        for (var i = 0u; i < CHAIN && quads.next < quads.end; i++) {
            var chain = row_zero();
            for (var j = 0u; j < CHAIN && quads.next < quads.end; j += quad_length()) {
                let words = load_quad(quads.next);
                for (var k = 0u; k < quad_length(); k++) {
                    let column = quads.next * quad_length() + k - sample.first;
                    if column < params.columns {
                        visit(column, quad_score_bits(words, k), sample, place.team, &chain);
                    }
                }
                quads.next += params.lanes * params.groups_per_sample;
            }
            long_chain = row_merge(long_chain, chain);
        }
        row = row_merge(row, long_chain);
    }
    return row;
}

// Called by every lane of the workgroup.
fn write_gradient(place: Place, sample: Sample, row: Row, best: Penalised, undefined: bool) {
    if place.row >= params.samples { return; }
    let first = place.row * params.columns + params.gradient_shift;
    let coefficient = real_divide(gradient_coefficient(sample.weight), params.sample_divisor);
    let quads = quads_of(place.member, sample.first, sample.first + params.columns);
    for (var quad = quads.next; quad < quads.end; quad += params.lanes * params.groups_per_sample) {
        let words = load_quad(quad);
        for (var k = 0u; k < quad_length(); k++) {
            let column = quad * quad_length() + k - sample.first;
            if column >= params.columns { continue; }
            let score = real_from_bits(quad_score_bits(words, k));
            let slope = written_slope(column, score, sample, row, best, undefined, coefficient);
            gradient[first + column] = real_to_bits(slope);
        }
    }
}
