"""Results as text for a terminal, and the DDIM paper's numbers to set beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# DDIM's Table 1, CIFAR-10: FID by eta and S, of 50,000 samples against the training images.
PAPER_TABLE1 = {
    "0": {10: 13.36, 20: 6.84, 50: 4.67, 100: 4.16, 1000: 4.04},
    "0.2": {10: 14.04, 20: 7.11, 50: 4.77, 100: 4.25, 1000: 4.09},
    "0.5": {10: 16.66, 20: 8.35, 50: 5.25, 100: 4.46, 1000: 4.29},
    "1": {10: 41.07, 20: 18.36, 50: 8.01, 100: 5.78, 1000: 4.73},
    "hat": {10: 367.43, 20: 133.37, 50: 32.72, 100: 9.99, 1000: 3.17},
}
# DDIM's Table 2: squared error of the round trip for each dimension, CIFAR-10's test images in [0, 1].
PAPER_TABLE2 = {10: 0.014, 20: 0.0065, 50: 0.0023, 100: 0.0009, 200: 0.0004, 500: 0.0001, 1000: 0.0001}


def describe(result: Mapping[str, Any]) -> list[str]:
    """A result of ``fid`` in a few lines."""
    protocol, values = result["protocol"], result["result"]
    sampling, name = protocol["sampling"], next(iter(values))
    title = "FID" if name == "fid" else f"Frechet distance in the features of {protocol['features']['name']} (not FID)"
    mark = f" (an estimate from {sampling['n']:,} images)" if result["estimate"] else ""
    if "real" in sampling:
        how = f"images of {sampling['real']['name']} themselves"
    else:
        how = f"S = {sampling['steps']}, eta = {sampling['eta']}, {sampling['spacing']} spacing"
        how += "".join(f", {name} {sampling[name]}" for name in ("scale", "solver") if name in sampling)
    against = f"{sampling['n']:,} images against {protocol['reference']['name']}"
    lines = [f"{title}: {values[name]:.4f}{mark}, {against}, {how}"]
    lines += [f"first {row['n']:,}: {row[name]:.4f}" for row in result.get("by_n", [])[:-1]]
    for key, word in (("kid", "KID"), ("kernel_distance", "kernel distance in the same features (not KID)")):
        if key in values:
            lines.append(f"{word}: {values[key]:.6f} +- {values[key + '_standard_error']:.6f}")
    if "precision" in values:
        lines.append(f"precision {values['precision']:.4f}, recall {values['recall']:.4f}")
    return lines


def table_of_etas(table: Mapping[str, Any]) -> str:
    """A result of ``table1`` as text, a row for each eta; means over seeds."""
    rows = table["rows"]
    steps = sorted({row["steps"] for row in rows})
    lines = [f"{table['distance']}{', an estimate' if table['estimate'] else ''}, n = {table['protocol']['n']:,}"]
    for spacing in dict.fromkeys(row["spacing"] for row in rows):
        lines.append(f"{spacing:>16}" + "".join(f"{f'S = {S}':>12}" for S in steps))
        for eta in dict.fromkeys(row["eta"] for row in rows):
            line = f"{f'eta = {eta}':>16}"
            for S in steps:
                cell = [r["value"] for r in rows if (r["spacing"], r["eta"], r["steps"]) == (spacing, eta, S)]
                line += f"{sum(cell) / len(cell):12.4f}" if cell else f"{'':12}"
            lines.append(line)
    return "\n".join(lines)


def table_of_round_trips(table: Mapping[str, Any]) -> str:
    """A result of ``reconstruction`` or ``table2`` as text; of the latter, with the paper's numbers beside ours."""
    beside, none = table["kind"] == "table2", float("nan")
    paper = f"{'paper, CIFAR-10':>20}" if beside else ""
    lines = [f"{'S':>6}{'error':>14}{'standard error':>18}{'median':>14}{paper}"]
    for row in table["rows"]:
        error, median = row["standard_error"] or none, row.get("median", none)
        paper = f"{PAPER_TABLE2.get(row['steps'], ''):>20}" if beside else ""
        lines.append(f"{row['steps']:6}{row['error']:14.6f}{error:18.6f}{median:14.6f}{paper}")
    return "\n".join(lines)
