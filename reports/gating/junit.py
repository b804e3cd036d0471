"""The gate as JUnit XML, in the dialect CI servers share: testsuites, testsuite, testcase, failure, skipped, system-out."""

from __future__ import annotations

from xml.etree import ElementTree as ET  # it writes; nothing is parsed

from reports.gating.escaping import plain
from reports.gating.tiers import Check, Gate, Tier
from reports.gating.told import sentence


def junit(gate: Gate) -> str:
    """One suite a tier, one case a check. What blocks is a failure (its type says fail or inconclusive); the rest is output."""
    suites = ET.Element("testsuites", name="contend gate")
    tiers: tuple[Tier, ...] = ("correctness", "counts", "ratios", "times")
    for tier in tiers:
        checks = [check for check in gate.checks if check.tier == tier]
        if checks:
            suite = ET.SubElement(suites, "testsuite", name=f"contend gate: {tier}", errors="0", time="0")
            for check in checks:
                _case(suite, check, gate)
            _count(suite)
    _count(suites)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ET.Element, check: Check, gate: Gate) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"contend.gate.{check.tier}", name=plain(check.about), time="0")
    blocking = [reason for reason in check.reasons if gate.blocks(reason)]
    rest = [reason for reason in check.reasons if not gate.blocks(reason)]
    for number, reason in enumerate(blocking):
        text = sentence(reason)
        if number == 0:  # one failure a case is what the dialect allows
            kind = "fail" if any(each.level == "fail" for each in blocking) else "inconclusive"
            failure = ET.SubElement(case, "failure", message=text, type=kind)
            failure.text = "\n".join(sentence(each) for each in blocking)
    if check.skipped and not blocking:
        ET.SubElement(case, "skipped", message=plain(check.skipped))
    if rest:
        ET.SubElement(case, "system-out").text = "\n".join(f"{reason.level}: {sentence(reason)}" for reason in rest)


def _count(element: ET.Element) -> None:
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        element.set(name, str(sum(1 for _ in element.iter(tag))))
