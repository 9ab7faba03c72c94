"""Three live clients watch while a project of 300 nodes is built through the public API.

    python scripts/demo.py              with a server of its own, on a database that is thrown away
    python scripts/demo.py --url URL    on a server that runs already; its session stays there to be looked at

The watchers are socket.io-client in Node over WebSocket, the same by polling alone, and the python-socketio
client. At the end each tree that they kept from the events is compared with the server's graph. The exit code
is 0 when all are equal. Node clients come from tests/clients (npm ci --prefix tests/clients).
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.clients import open_client, shared_node
from tests.support.follower import Follower
from tests.support.server import Server, new_id
from tests.support.tree import difference

NODES = 300
WATCHERS = ("node-websocket", "node-polling", "python")

Json = dict[str, Any]

# phase -> jobs; a job: name, area, its tasks, its parts with a price each
PLAN: dict[str, list[tuple[str, str, list[str], list[tuple[str, float]]]]] = {
    "Arrival and survey": [
        ("Document the truck as it came", "Not decided",
         ["Photograph every side", "Photograph the underbody", "Note all numbers and tags",
          "Smell and flush the tank",
          "Compression test", "Write the list of missing parts"], [("Service manual", 89.0)]),
        ("Paperwork", "Not decided", ["Check title against VIN", "Agree on value with the insurer"], []),
    ],
    "Teardown": [
        ("Strip the interior", "Interior",
         ["Take out seats", "Take out dash", "Bag and label screws",
          "Lift the floor mat"], [("Storage boxes", 46.0)]),
        ("Take off body panels", "Body and sheet metal",
         ["Remove hood and fenders", "Remove doors", "Remove tailgate", "Mark all shims",
          "Lift body off the frame"],
         [("Body dolly", 310.0), ("Rotisserie rental", 450.0)]),
        ("Take out engine and gearbox", "Engine",
         ["Drain fluids", "Disconnect the loom", "Pull engine with gearbox", "Separate transfer case"], []),
        ("Label and store the wiring", "Electrical", ["Photograph connectors", "Tag every branch"], []),
    ],
    "Frame and axles": [
        ("Frame repair", "Frame and chassis",
         ["Sandblast frame", "Measure for straightness", "Weld crack at steering box", "Box the rear rails",
          "Prime and paint frame"], [("Frame repair section", 220.0), ("Epoxy primer", 94.5)]),
        ("Front axle", "Axles and suspension",
         ["Strip Dana 30", "Inspect ring and pinion", "Replace ball joints", "Set backlash"],
         [("Ball joint kit", 139.0), ("Axle seal kit", 42.0), ("Bearing kit", 118.0)]),
        ("Rear axle", "Axles and suspension",
         ["Strip Ford 9", "New axle bearings", "Fit limited slip"], [("Limited slip unit", 585.0),
          ("Gear oil", 38.0)]),
        ("Springs and dampers", "Axles and suspension",
         ["Fit coil springs", "Fit leaf springs", "Fit dampers", "Torque with weight on wheels"],
         [("Coil springs, pair", 164.0), ("Leaf springs, pair", 398.0), ("Dampers, set of 4", 276.0)]),
        ("Power steering", "Steering",
         ["Mount the box", "Route the hoses", "Align the column", "Bleed the system"],
         [("4x4 steering box", 429.0), ("Rag joint", 36.0), ("Hose set", 88.0)]),
        ("Disc brake conversion", "Brakes",
         ["Fit caliper brackets", "Fit rotors", "Plumb the lines", "Fit dual master cylinder",
          "Bleed the brakes"],
         [("Front disc kit", 545.0), ("Master cylinder", 132.0), ("Stainless lines", 176.0),
          ("Brake fluid", 18.0)]),
    ],
    "Engine and driveline": [
        ("Rebuild the 302", "Engine",
         ["Bore and hone", "Polish crank", "Assemble the short block", "Fit heads", "Degree the cam",
          "Set lash",
          "Prime oil system", "Run in on the stand"],
         [("Piston set", 389.0), ("Rebuild gasket set", 154.0), ("Camshaft and lifters", 335.0),
          ("Timing set", 97.0), ("Oil pump", 58.0)]),
        ("Fuel injection", "Fuel and exhaust",
         ["Fit throttle body", "Return line", "Mount pump in tank", "Wire the control unit"],
         [("Throttle body kit", 1249.0), ("Tank with baffles", 365.0), ("Fuel lines", 74.0)]),
        ("Exhaust", "Fuel and exhaust", ["Fit headers", "Bend pipes", "Hang mufflers"],
         [("Headers", 289.0), ("Mufflers, pair", 172.0)]),
        ("Cooling", "Cooling and heating", ["Fit radiator", "Fit shroud and fan", "Pressure test"],
         [("Aluminum radiator", 348.0), ("Electric fan", 139.0), ("Hoses and clamps", 61.0)]),
        ("Five-speed gearbox", "Transmission and driveline",
         ["Fit clutch", "Mate gearbox and adapter", "Hang transfer case", "Measure and order shafts"],
         [("NV3550 adapter kit", 845.0), ("Clutch kit", 262.0), ("Drive shafts, pair", 598.0)]),
    ],
    "Bodywork and paint": [
        ("Floors and rockers", "Body and sheet metal",
         ["Cut out floors", "Fit floor pans", "Weld rockers", "Seal all seams"],
         [("Floor pans, pair", 258.0), ("Rocker panels, pair", 144.0), ("Seam sealer", 52.0)]),
        ("Quarter panels", "Body and sheet metal",
         ["Cut wheel arches", "Fit quarter skins", "Hammer and dolly"],
         [("Quarter skins, pair", 312.0)]),
        ("Fit and gap", "Body and sheet metal",
         ["Hang doors", "Hang hood and fenders", "Set gaps", "Drill for trim"], []),
        ("Paint", "Paint",
         ["Block sand", "Two coats of primer", "Guide coat", "Spray Caribbean Turquoise", "Clear coat",
          "Polish"],
         [("Base coat, 1 gal", 415.0), ("Clear coat", 238.0), ("Abrasives", 120.0)]),
        ("Underbody coating", "Paint", ["Mask", "Spray", "Cavity wax"], [("Cavity wax", 64.0)]),
    ],
    "Electrical": [
        ("New harness", "Electrical",
         ["Lay out the harness", "Terminate the dash", "Terminate the engine bay", "Terminate the rear",
          "Test circuits"],
         [("Harness kit", 729.0), ("Fuse block", 84.0), ("Ground straps", 27.0)]),
        ("Charging and starting", "Electrical", ["Fit alternator", "Fit starter", "Measure voltage drop"],
         [("Alternator, 130 A", 198.0), ("Gear reduction starter", 156.0), ("Battery", 189.0)]),
        ("Lights", "Electrical", ["LED headlamps", "Tail lamps", "Aim the lamps"],
         [("LED headlamps, pair", 259.0), ("Tail lamp set", 92.0)]),
    ],
    "Interior and trim": [
        ("Seats and belts", "Interior", ["Upholster seats", "Mount three-point belts", "Torque belt anchors"],
         [("Seat covers", 520.0), ("Three-point belts, set", 284.0)]),
        ("Dash and gauges", "Interior", ["Refinish dash", "Fit gauges", "Calibrate the speedometer"],
         [("Gauge cluster", 495.0)]),
        ("Glass and seals", "Glass and seals", ["Set windshield", "Door glass and felts", "Water test"],
         [("Windshield", 210.0), ("Seal kit", 265.0)]),
        ("Bumpers and emblems", "Trim and chrome", ["Rechrome bumpers", "Fit emblems", "Fit mirrors"],
         [("Emblem set", 118.0)]),
    ],
    "Shakedown": [
        ("First start", "Engine",
         ["Check fluids", "Crank for oil pressure", "Set timing", "Look for leaks"], []),
        ("Road test", "Wheels and tires",
         ["Alignment", "Bed the brakes", "Drive 50 miles", "Torque all again", "Drive 500 miles"],
         [("Wheels, set of 5", 690.0), ("Tires 31x10.5, set of 5", 985.0)]),
    ],
}  # fmt: skip

# what an assembly is made of
ASSEMBLIES = {
    "Front disc kit": ["Caliper, left", "Caliper, right", "Rotor, left", "Rotor, right", "Pads", "Brackets"],
    "Rebuild gasket set": ["Head gaskets", "Intake gasket", "Front seal", "Rear main seal"],
    "Throttle body kit": ["Throttle body", "Fuel pump", "Oxygen sensor", "Control unit"],
    "NV3550 adapter kit": ["Adapter", "Bell housing", "Pilot bearing"],
    "Gauge cluster": ["Speedometer sender", "Oil sender", "Water sender"],
    "Seal kit": ["Windshield seal", "Door seals", "Vent seals", "Tailgate seal"],
    "Clutch kit": ["Pressure plate", "Disc", "Release bearing"],
}

# what came to light, how bad it is, and what is done about it
FINDINGS = [
    ("Hole behind the battery tray", "Must be repaired", "Weld in a patch"),
    ("Bent drag link", "Unsafe to drive", "Replace drag link"),
    ("Old fire damage on the loom", "Must be repaired", "Cut back to sound wire"),
    ("Filler two fingers deep in the left quarter", "Should be repaired", "Strip to metal and look again"),
    ("Home-made motor mounts", "Must be repaired", "Fit factory mounts"),
    ("Cracked brake hose", "Unsafe to drive", "Replace all three hoses"),
    ("Mouse nest in the heater", "Cosmetic", "Clean and disinfect"),
    ("Wrong dipstick", "Should be repaired", "Find the right one"),
    ("Stripped thread in a head", "Must be repaired", "Thread insert"),
    ("Tank full of varnish", "Must be repaired", "Scrap the tank"),
    ("Play in the steering box", "Unsafe to drive", "Leave it to the new box"),
    ("Door hinge pins worn", "Should be repaired", "Press in new pins"),
    ("Speaker holes cut into the doors", "Cosmetic", "Weld shut"),
    ("Rear main seal leaks", "Should be repaired", "Renew with the rebuild"),
    ("Cracked windshield frame", "Must be repaired", "Stop-drill and weld"),
    ("Frame number hard to read", "Not assessed", "Clean with a brass brush"),
    ("Rust under the gas door", "Should be repaired", "Cut out and patch"),
    ("Mismatched axle ratios", "Must be repaired", "Regear the front to 4.11"),
    ("Transfer case shifts hard", "Should be repaired", "Replace the shift rails"),
    ("Wiper motor dead", "Should be repaired", "Rebuild the motor"),
    ("Dash cut for a stereo", "Cosmetic", "Weld in a filler plate"),
    ("Tailgate hinge broken", "Should be repaired", "Replace hinge"),
    ("Spare tire carrier missing", "Not assessed", "Ask the club"),
    ("Exhaust studs snapped off", "Must be repaired", "Drill out at the machine shop"),
    ("Third paint color under the second", "Cosmetic", "Take a sample for the record"),
]

RECORDS = [
    ("Title", "Title or registration", None), ("Bill of sale", "Receipt", 14500.0),
    ("Machine shop invoice", "Receipt", 1875.0), ("Compression test, cold", "Measurement or test", None),
    ("Appraisal", "Insurance or appraisal", 350.0), ("Marti-style build report", "History", 45.0),
    ("Frame measurement sheet", "Measurement or test", None), ("Paint invoice", "Receipt", 4200.0),
    ("Axle ratios found", "Measurement or test", None), ("Photos of 1974", "History", None),
]  # fmt: skip


class Schema:
    """The template as `GET /templates/{id}/schema` shows it: options by their names."""

    def __init__(self, schema: Json) -> None:
        self.name = schema["name"]
        self._options = {
            (kind["id"], prop["id"], option["name"]): option["uuid"]
            for kind in schema["node_types"]
            for prop in kind["properties"]
            for option in prop["options"]
        }

    def option(self, kind: str, prop: str, name: str) -> str:
        return str(self._options[kind, prop, name])


class Build:
    """Fills one session, partly over REST and partly over a socket, as a team would."""

    def __init__(self, server: Server, session_id: str, root: str, schema: Schema) -> None:
        self.server, self.session_id, self.schema = server, session_id, schema
        self.root = root
        self.count = 1  # nodes: the root
        self.calls = 0
        self.client = open_client(server.url, "python-websocket", actor="Rosa")
        self._turn = itertools.cycle(("rest", "socket"))

    def send(self, command_type: str, data: Json) -> Json:
        """One command, by turns over REST and over the socket; its answer."""
        self.calls += 1
        if next(self._turn) == "rest":
            return self.server.execute(self.session_id, command_type, data, actor="Jim", command_id=new_id())
        answer = self.client.execute(self.session_id, command_type, data, command_id=new_id())
        if "error" in answer:
            raise SystemExit(f"demo: {command_type} was refused: {answer['error']}")
        return answer

    def create(self, node_type: str, parent_id: str, name: str, /, **properties: Any) -> str:
        """A node's id."""
        data = {
            "blueprint_type_id": node_type,
            "parent_id": parent_id,
            "name": name,
            "properties": properties,
        }
        self.count += 1
        return str(self.send("CreateNode", data)["node_id"])

    def set(self, node_id: str, property_id: str, value: Any) -> None:
        self.send("UpdateProperty", {"node_id": node_id, "property_id": property_id, "value": value})

    def undo(self, call: str) -> None:
        self.calls += 1
        self.server.try_undo(self.session_id, call=call, actor="Jim").raise_for_status()

    def fill(self) -> None:
        """300 nodes and the edits that come with them."""
        option = self.schema.option
        self.set(self.root, "make_model", "Ford Bronco U13")
        self.set(self.root, "year", 1966)
        self.set(self.root, "goal", option("vehicle", "goal", "Restomod"))
        jobs: list[str] = []
        for number, (phase_name, planned) in enumerate(PLAN.items(), start=1):
            phase = self.create(
                "phase", self.root, f"{number}. {phase_name}", target_date=f"2026-{number + 2:02}-28"
            )
            for job_name, area, tasks, parts in planned:
                jobs.append(self.job(phase, job_name, area, tasks, parts))
            self.set(phase, "budget", 1500.0 * number)
            print(f"  {self.count:3} nodes: {phase_name}", flush=True)
        self.papers()
        self.surprises(jobs)
        self.changes_of_mind(jobs)

    def job(self, phase: str, name: str, area: str, tasks: list[str], parts: list[tuple[str, float]]) -> str:
        """A job with its parts one by one and its tasks in one batch."""
        option = self.schema.option
        job = self.create("job", phase, name, area=option("job", "area", area), hours_planned=3 * len(tasks))
        for name, price in parts:
            part = self.create("part", job, name, unit_price=price, quantity=1)
            for piece in ASSEMBLIES.get(name, []):
                self.create("part", part, piece, quantity=1)
        entries = [
            {"blueprint_type_id": "task", "parent_id": job, "name": task, "properties": {"hours_planned": 3}}
            for task in tasks
        ]
        self.count += len(entries)
        self.send("Batch", {"commands": [{"command_type": "CreateNode", "data": data} for data in entries]})
        self.set(job, "status", option("job", "status", "In progress" if parts else "Ready to start"))
        return job

    def papers(self) -> None:
        for name, kind, amount in RECORDS:
            known = {} if amount is None else {"amount": amount}
            self.create("record", self.root, name, kind=self.schema.option("record", "kind", kind), **known)

    def surprises(self, jobs: list[str]) -> None:
        """Findings, each with a task, until the project has its 300 nodes."""
        for job, (name, severity, remedy) in zip(itertools.cycle(jobs), FINDINGS, strict=False):
            if self.count < NODES:
                level = self.schema.option("finding", "severity", severity)
                finding = self.create("finding", job, name, severity=level, found_on="2026-02-14")
            if self.count < NODES:
                self.create("task", finding, remedy)

    def changes_of_mind(self, jobs: list[str]) -> None:
        """Jobs in another order, one that is dropped and taken back, an undo and a redo."""
        for job in jobs[3:12:3]:
            self.send("MoveNode", {"node_id": job, "parent_id": self.root, "index": 0})
        self.undo("undo")
        self.send("DeleteNode", {"node_id": jobs[-1]})
        self.undo("undo")
        self.undo("redo")
        self.undo("undo")


def watch(server: Server, session_id: str, kind: str) -> Follower:
    follower = Follower(
        session_id,
        lambda: open_client(server.url, kind, actor=f"watcher {kind}"),
        lambda: server.graph(session_id),
    )
    follower.join()
    return follower


def run(server: Server) -> int:
    """Build the project under the eyes of the watchers; the exit code."""
    schema = Schema(server.ask("/templates/restomod/schema"))
    body = {"template_id": "restomod", "project_name": "1966 Bronco"}
    project = server.post("/projects", body, headers={"Talus-Actor": "Rosa"}).json()
    session_id = project["session_id"]
    print(f"project 1966 Bronco ({schema.name}), session {session_id}")
    watchers = {kind: watch(server, session_id, kind) for kind in WATCHERS}
    build = Build(server, session_id, project["graph"]["roots"][0]["id"], schema)
    began = time.monotonic()
    build.fill()
    took_s = time.monotonic() - began
    graph = server.graph(session_id)
    nodes = server.ask(f"/sessions/{session_id}/info")["node_count"]
    print(f"{build.calls} calls in {took_s:.2f} s: {nodes} nodes at version {graph['version']}")
    wrong = int(nodes != NODES)
    for kind, follower in watchers.items():
        try:
            follower.wait_version(graph["version"])
            follower.check()
            assert follower.tree is not None
            found = difference(follower.tree.nested(), graph["roots"])
        except AssertionError as error:
            found = str(error)
        wrong += bool(found)
        print(f"{kind:15} heard {follower.facts} facts: {found or 'holds the graph of the server'}")
        follower.close()
    build.client.close()
    print("all three hold the graph of the server" if not wrong else "NOT all hold the graph of the server")
    return int(bool(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--url", help="a running server, such as http://127.0.0.1:5000 (default: one of its own)"
    )
    url = parser.parse_args().url
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            if url:
                server.url = url.rstrip("/")
            else:
                server.start()
                print(f"a server of its own listens on {server.url}")
            return run(server)
        finally:
            shared_node().end()
            if server.running:
                server.stop()


if __name__ == "__main__":
    sys.exit(main())
