"""EC2, S3 and STS for the tests: moto, with what it lacks of EC2 and with faults on demand.

Moto has no ImportSnapshot, and its RegisterImage knows neither the snapshot nor tags; both are added here, with the checks that
AWS makes: an object has to be there to be imported, a name is taken once, and a snapshot that an image uses stays. The address is
told in the first line of the output; the server ends when its input does.
"""

import base64
import hashlib
import io
import json
import sys
import threading
from urllib.parse import parse_qs

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses import EC2Response
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

imports = {}  # by region: a list of tasks
tokens = {}  # by region: machines and imports that were begun with a token
control = {"polls": 1, "fail": None, "throttle": {}, "fuse": None, "held": False, "seen": []}
release = threading.Event()
lock = threading.Lock()
starting = threading.Lock()


def tags_of(response, kind):
    return response._parse_tag_specification().get(kind, {})


def import_snapshot(self):
    region = self.region
    token = self._get_param("ClientToken")
    known = tokens.setdefault(region, {})
    if token in known:
        return ActionResult(task_of(known[token]))
    bucket = self._get_param("DiskContainer")["UserBucket"]["S3Bucket"]
    key = self._get_param("DiskContainer")["UserBucket"]["S3Key"]
    held = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    try:
        disk = held.get_object(bucket, key)
        content = disk.value
    except Exception:
        raise EC2ClientError("InvalidParameter", f"The given S3 object {bucket}/{key} is not available")
    if control["fail"] == "role":
        raise EC2ClientError(
            "InvalidParameter", "The service role vmimport provided does not exist or does not have sufficient permissions"
        )
    task = {
        "id": f"import-snap-{len(imports.get(region, [])):017x}",
        "state": "active",
        "polls": control["polls"],
        "tags": tags_of(self, "import-snapshot-task"),
        "snapshot": None,
        "message": "pending",
        "size": len(content),
        "sha": hashlib.sha256(content).hexdigest(),
    }
    imports.setdefault(region, []).append(task)
    known[token] = task
    return ActionResult(task_of(task))


def task_of(task):
    detail = {"Status": task["state"], "StatusMessage": task["message"], "Progress": "40", "Format": "RAW"}
    if task["snapshot"]:
        detail["SnapshotId"] = task["snapshot"]
    tags = [{"Key": key, "Value": value} for key, value in task["tags"].items()]
    return {"ImportTaskId": task["id"], "SnapshotTaskDetail": detail, "Tags": tags}


def describe_import_snapshot_tasks(self):
    region = self.region
    wanted = self._get_param("ImportTaskIds", [])
    found = []
    for task in imports.get(region, []):
        if wanted and task["id"] not in wanted:
            continue
        if task["state"] == "active" and wanted:
            task["polls"] -= 1
            if task["polls"] < 0:
                finish(self.ec2_backend, region, task)
        found.append(task_of(task))
    return ActionResult({"ImportSnapshotTasks": found})


def finish(backend, region, task):
    if control["fail"]:
        task["state"], task["message"] = "deleted", control["fail"]
        return
    volume = backend.create_volume(size=max(1, -(-task["size"] // (1 << 30))), zone_name=f"{region}a")
    snapshot = backend.create_snapshot(volume.id, f"Created by AWS-VMImport service for {task['id']}")
    backend.delete_volume(volume.id)
    task["state"], task["snapshot"], task["message"] = "completed", snapshot.id, ""


def cancel_import_task(self):
    for task in imports.get(self.region, []):
        if task["id"] == self._get_param("ImportTaskId"):
            task["state"], task["message"] = "deleted", "cancelled"
            return ActionResult({"ImportTaskId": task["id"], "State": "deleted"})
    raise EC2ClientError("InvalidConversionTaskId", "there is no such task")


def register_image(self):
    backend, name = self.ec2_backend, self._get_param("Name")
    if any(image.name == name and image.owner_id == backend.account_id for image in backend.amis.values()):
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use")
    mapping = self._get_param("BlockDeviceMappings")[0]
    snapshot = backend.snapshots.get(mapping["Ebs"]["SnapshotId"])
    if snapshot is None:
        raise EC2ClientError("InvalidSnapshot.NotFound", "there is no such snapshot")
    image = backend.register_image(name, self._get_param("Description", ""))
    backend.snapshots.pop(image.ebs_snapshot.id, None)
    image.ebs_snapshot = snapshot
    image.osc_size = int(mapping["Ebs"].get("VolumeSize", snapshot.volume.size))
    image.root_device_name = self._get_param("RootDeviceName")
    image.architecture = self._get_param("Architecture")
    image.virtualization_type = self._get_param("VirtualizationType")
    image.boot_mode = self._get_param("BootMode")
    image.tpm_support = self._get_param("TpmSupport")
    image.ena_support = self._get_param("EnaSupport")
    image.add_tags(tags_of(self, "image"))
    return ActionResult({"ImageId": image.id})


def mappings(self):
    size = getattr(self, "osc_size", 15)
    return [{"DeviceName": self.root_device_name, "Ebs": {"SnapshotId": self.ebs_snapshot.id, "VolumeSize": size}}]


def delete_snapshot(self):
    backend, snapshot = self.ec2_backend, self._get_param("SnapshotId")
    if any(getattr(image, "ebs_snapshot", None) and image.ebs_snapshot.id == snapshot for image in backend.amis.values()):
        raise EC2ClientError("InvalidSnapshot.InUse", f"The snapshot {snapshot} is currently in use by an image")
    return real_delete_snapshot(self)


def run_instances(self):
    """The same token begins one machine, as with AWS."""
    with starting:
        known, token = tokens.setdefault(self.region, {}), self._get_param("ClientToken")
        if token in known:
            return known[token]
        result = known[token] = real_run_instances(self)
    control["last_run"] = {"user_data": self._get_param("UserData"), "cpu": self._get_param("CpuOptions")}
    return result


real_delete_snapshot = EC2Response.delete_snapshot
real_run_instances = EC2Response.run_instances
for method in (import_snapshot, describe_import_snapshot_tasks, cancel_import_task, register_image, delete_snapshot, run_instances):
    setattr(EC2Response, method.__name__, method)
Ami.block_device_mappings = property(mappings)


def everything():
    """What there is, of what somebody pays for."""
    found = {"images": [], "snapshots": [], "machines": [], "volumes": [], "imports": []}
    for region, backend in ec2_backends[DEFAULT_ACCOUNT_ID].items():
        for image in backend.amis.values():
            if image.owner_id == backend.account_id:
                found["images"].append(
                    {
                        "region": region, "id": image.id, "name": image.name, "snapshot": image.ebs_snapshot.id,
                        "size": getattr(image, "osc_size", None), "boot": image.boot_mode, "device": image.root_device_name,
                        "architecture": image.architecture, "type": image.virtualization_type,
                        "tpm": getattr(image, "tpm_support", None), "ena": getattr(image, "ena_support", None),
                        "tags": {tag["key"]: tag["value"] for tag in image.get_tags()},
                    }
                )
        for snapshot in backend.snapshots.values():
            if snapshot.owner_id == backend.account_id:
                found["snapshots"].append({"region": region, "id": snapshot.id})
        for reservation in backend.reservations.values():
            for machine in reservation.instances:
                if machine._state.name != "terminated":
                    found["machines"].append({"region": region, "id": machine.id})
        found["volumes"] += [{"region": region, "id": one} for one in backend.volumes]
        found["imports"] += [
            {"region": region, "id": task["id"], "sha": task["sha"], "size": task["size"]}
            for task in imports.get(region, []) if task["state"] == "active" or task["snapshot"] in backend.snapshots
        ]
    buckets = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets
    found["buckets"] = {
        name: {"keys": sorted(bucket.keys.keys()), "uploads": len(bucket.multiparts)} for name, bucket in buckets.items()
    }
    found["tasks"] = sum(len(tasks) for tasks in imports.values())
    return found


class Front:
    """Faults, before and after moto."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start):
        path = environ["PATH_INFO"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        if path.startswith("/osc-test/"):
            answer = json.dumps(self.control(path[len("/osc-test/"):], body)).encode()
            start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
            return [answer]
        environ["wsgi.input"] = io.BytesIO(body)
        form = parse_qs(body.decode("latin-1")) if b"Action=" in body[:4096] else {}
        action = form.get("Action", [environ["REQUEST_METHOD"]])[0]
        with lock:
            control["seen"].append(action)
            left = control["throttle"].get(action, 0)
            control["throttle"][action] = left - 1
        if left > 0:
            code = "RequestLimitExceeded" if form else "SlowDown"
            error = f"<Error><Code>{code}</Code><Message>Request limit exceeded.</Message></Error>"
            answer = (f"<Response><Errors>{error}</Errors></Response>" if form else error).encode()
            start("503 Slow Down", [("Content-Type", "text/xml"), ("Content-Length", str(len(answer)))])
            return [answer]
        expected = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if expected and expected != base64.b64encode(hashlib.sha256(body).digest()).decode():
            answer = b"<Error><Code>BadDigest</Code><Message>The checksum does not match.</Message></Error>"
            start("400 Bad Request", [("Content-Length", str(len(answer)))])
            return [answer]
        answer = list(self.inner(environ, start))
        self.burn()
        return answer

    def burn(self):
        """The request was done, and whoever sent it may die before the answer."""
        with lock:
            if control["fuse"] is None:
                return
            control["fuse"] -= 1
            if control["fuse"] > 0:
                return
            control["fuse"], control["held"] = None, True
        release.clear()
        release.wait(30)

    def control(self, what, body):
        if what == "everything":
            return everything()
        if what == "state":
            return {key: control.get(key) for key in ("held", "seen", "last_run")}
        if what == "set":
            control.update(json.loads(body))
        if what == "release":
            control["held"] = False
            release.set()
        return {}


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


server = make_server("127.0.0.1", 0, Front(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Quiet)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
