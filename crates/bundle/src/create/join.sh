mkdir -p layout
for volume in {name}.[0-9][0-9][0-9][0-9][0-9].tar; do
  tar -xf "$volume" -C layout
done
for parts in layout/parts/*/*; do
  [ -d "$parts" ] || continue
  blob=layout/blobs/${parts#layout/parts/}
  mkdir -p "${blob%/*}"
  cat "$parts"/* > "$blob"
  rm -r "$parts"
done
