#!/usr/bin/env python3
"""Draws the pictures of the README from what `heddle` wrote (needs matplotlib):

    heddle train --json > demo.json
    heddle train --steps 3 --device trn1 --trace trn1.json
    docs/images/make_pictures.py demo.json trn1.json docs/images
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

demo, trace, folder = sys.argv[1:4]

runs = json.load(open(demo))
fig, ax = plt.subplots(figsize=(8, 3.2), dpi=120)
styles = [dict(lw=4, alpha=0.35), dict(lw=1.2, ls="--", color="black")]
for run, style in zip(runs["devices"], styles):
    simulated = " (simulated)" if run.get("simulated_us_per_step") else ""
    ax.plot(run["losses"], label=f"{run['device']}{simulated}: {100 * run['accuracy']:.1f} % of unseen sums", **style)
ax.set_yscale("log")
ax.set_xlabel("step")
ax.set_ylabel("loss (nats)")
ax.set_title(f"largest relative difference over the first 50 steps: {runs['max_relative_loss_difference']:.1e}", fontsize=9)
ax.legend()
fig.tight_layout()
fig.savefig(f"{folder}/loss_curves.png")

document = json.load(open(trace))
events = document["traceEvents"] if isinstance(document, dict) else document
names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e.get("ph") == "M" and e["name"] == "thread_name"}
spans = [e for e in events if e.get("ph") == "X"]
first = min(e["ts"] for e in spans)
window = float(sys.argv[4]) if len(sys.argv) > 4 else 400.0
tracks = {}
for e in spans:
    start = e["ts"] - first
    if start < window:
        name = names.get((e["pid"], e["tid"]), str(e["tid"])).replace(" (simulated)", "")
        if name.startswith("dma queue"):  # one row for all queues that one engine triggers
            name = f"DMA started by {name.split()[2]}"
        tracks.setdefault(name, []).append((start, max(e["dur"], window / 4000)))
order = sorted(tracks, key=lambda n: ("DMA" in n, n))
fig, ax = plt.subplots(figsize=(8, 0.32 * len(order) + 1), dpi=120)
for row, name in enumerate(order):
    ax.broken_barh(tracks[name], (row - 0.4, 0.8), color=f"C{row % 10}", alpha=0.7)
ax.set_yticks(range(len(order)), order, fontsize=7)
ax.invert_yaxis()
ax.set_xlabel(f"simulated microseconds (the first {window:.0f} of a training step)")
fig.tight_layout()
fig.savefig(f"{folder}/timeline.png")
