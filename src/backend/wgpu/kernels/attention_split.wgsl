// attention_split: which keys of a sequence one of params.splits workgroups takes. A sequence is cut by its
// own length alone: into one piece up to params.unsplit_keys, else into pieces of at least
// params.split_keys, as far as there are splits; the rest of them get no keys. So its sums do not
// depend on the sequences beside it.

struct Piece {
  begin: u32,
  end: u32,
}

// Of keys [first, last); all pieces but the last are multiples of `unit`.
fn piece_of(first: u32, last: u32, split: u32, unit: u32) -> Piece {
  let keys = last - first;
  let wanted = (keys + params.split_keys - 1u) / params.split_keys;
  let pieces = select(clamp(wanted, 1u, params.splits), 1u, keys <= params.unsplit_keys);
  let share = ((keys + pieces - 1u) / pieces + unit - 1u) / unit * unit;
  let begin = min(last, first + split * share);
  return Piece(begin, min(last, begin + share));
}
