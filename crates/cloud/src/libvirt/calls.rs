//! The procedures of libvirt that pod VMs need, with the types of what they take and give.
//!
//! Numbers and shapes are those of libvirt's `remote_protocol.x`, which it only ever adds to.

use std::net::IpAddr;

use super::client::{Answer, Client, Procedure, code, found};
use super::wire::xdr::{Decoder, Encode, Encoder, Malformed};

/// Which entries are wanted in a list: all of them.
const ALL: i32 = 1;
/// What was defined, not what runs with it at the moment (`VIR_DOMAIN_XML_INACTIVE`).
const INACTIVE: u32 = 2;
/// From the leases of the network's DHCP server (`VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE`).
const BY_LEASE: u32 = 0;
/// With everything that belongs to it: saved state, NVRAM, metadata of snapshots (`VIR_DOMAIN_UNDEFINE_*`).
const UNDEFINE: [u32; 3] = [1 | 2 | 4, 4, 0];

/// A domain: what libvirt calls a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) uuid: [u8; 16],
    /// Negative: it does not run.
    pub(super) id: i32,
}

/// A network or a storage pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) uuid: [u8; 16],
}

/// A storage volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) pool: String,
    pub(super) name: String,
    pub(super) key: String,
}

impl Domain {
    pub(super) fn id(&self) -> String {
        uuid::Uuid::from_bytes(self.uuid).to_string()
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: from.text()?, uuid: from.uuid()?, id: from.i32()? })
    }
}

impl Named {
    fn read(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: from.text()?, uuid: from.uuid()? })
    }
}

impl Volume {
    fn read(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { pool: from.text()?, name: from.text()?, key: from.text()? })
    }
}

impl Encode for Domain {
    fn encode(&self, out: Encoder) -> Encoder {
        out.text(&self.name).fixed(&self.uuid).i32(self.id)
    }
}

impl Encode for Named {
    fn encode(&self, out: Encoder) -> Encoder {
        out.text(&self.name).fixed(&self.uuid)
    }
}

impl Encode for Volume {
    fn encode(&self, out: Encoder) -> Encoder {
        out.text(&self.pool).text(&self.name).text(&self.key)
    }
}

fn text(from: &mut Decoder<'_>) -> Result<String, Malformed> {
    from.text()
}

fn flag(from: &mut Decoder<'_>) -> Result<bool, Malformed> {
    Ok(from.i32()? == 1)
}

/// Domains.
impl Client {
    pub(super) async fn capabilities(&self) -> Answer<String> {
        self.ask(Procedure::read(7), Encoder::new(), text).await
    }

    pub(super) async fn domain_by_name(&self, name: &str) -> Answer<Option<Domain>> {
        let domain = self.ask(Procedure::read(23), Encoder::new().text(name), Domain::read).await;
        found(domain, code::NO_DOMAIN)
    }

    pub(super) async fn domain_by_uuid(&self, uuid: uuid::Uuid) -> Answer<Option<Domain>> {
        let domain = self.ask(Procedure::read(24), Encoder::new().fixed(uuid.as_bytes()), Domain::read).await;
        found(domain, code::NO_DOMAIN)
    }

    pub(super) async fn domains(&self) -> Answer<Vec<Domain>> {
        self.ask(Procedure::read(273), Encoder::new().i32(ALL).u32(0), |from| from.list(Domain::read)).await
    }

    pub(super) async fn domain_xml(&self, domain: &Domain) -> Answer<String> {
        self.ask(Procedure::read(14), Encoder::new().with(domain).u32(INACTIVE), text).await
    }

    pub(super) async fn domain_define(&self, xml: &str) -> Answer<Domain> {
        self.ask(Procedure::change(11), Encoder::new().text(xml), Domain::read).await
    }

    pub(super) async fn domain_start(&self, domain: &Domain) -> Answer<Domain> {
        self.ask(Procedure::change(196), Encoder::new().with(domain).u32(0), Domain::read).await
    }

    pub(super) async fn domain_is_active(&self, domain: &Domain) -> Answer<bool> {
        self.ask(Procedure::read(150), Encoder::new().with(domain), flag).await
    }

    /// Stops it at once. Whether it ran.
    pub(super) async fn domain_destroy(&self, domain: &Domain) -> Answer<bool> {
        let done = self.ask(Procedure::read(12), Encoder::new().with(domain), |_| Ok(())).await;
        match done {
            Ok(()) => Ok(true),
            // It does not run, or is gone altogether.
            Err(failure) if failure.is(code::OPERATION_INVALID) || failure.is(code::NO_DOMAIN) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn domain_undefine(&self, domain: &Domain) -> Answer<()> {
        let mut last = Ok(());
        for flags in UNDEFINE {
            let done =
                self.ask(Procedure::read(231), Encoder::new().with(domain).u32(flags), |_| Ok(())).await;
            last = found(done, code::NO_DOMAIN).map(|_| ());
            // Older drivers know fewer flags.
            if last.is_ok() || matches!(last, Err(super::client::Failure::Unknown(_))) {
                break;
            }
        }
        last
    }

    /// Addresses that the network's DHCP server has given it, IPv4 first.
    pub(super) async fn domain_addresses(&self, domain: &Domain) -> Answer<Vec<IpAddr>> {
        let arguments = Encoder::new().with(domain).u32(BY_LEASE).u32(0);
        let address = |from: &mut Decoder<'_>| -> Result<String, Malformed> {
            from.i32()?;
            let address = from.text()?;
            from.u32()?;
            Ok(address)
        };
        let interface = |from: &mut Decoder<'_>| {
            from.text()?;
            from.maybe(Decoder::text)?;
            from.list(address)
        };
        let all = self.ask(Procedure::read(353), arguments, |from| from.list(interface)).await?;
        let mut addresses: Vec<IpAddr> = all.iter().flatten().filter_map(|text| text.parse().ok()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }

    pub(super) async fn network(&self, name: &str) -> Answer<Option<Named>> {
        let network = self.ask(Procedure::read(46), Encoder::new().text(name), Named::read).await;
        found(network, code::NO_NETWORK)
    }

    pub(super) async fn network_xml(&self, network: &Named) -> Answer<String> {
        self.ask(Procedure::read(43), Encoder::new().with(network).u32(0), text).await
    }

    pub(super) async fn network_is_active(&self, network: &Named) -> Answer<bool> {
        self.ask(Procedure::read(152), Encoder::new().with(network), flag).await
    }
}

/// Storage pools.
impl Client {
    pub(super) async fn pool(&self, name: &str) -> Answer<Option<Named>> {
        let pool = self.ask(Procedure::read(84), Encoder::new().text(name), Named::read).await;
        found(pool, code::NO_STORAGE_POOL)
    }

    pub(super) async fn pool_is_active(&self, pool: &Named) -> Answer<bool> {
        self.ask(Procedure::read(154), Encoder::new().with(pool), flag).await
    }

    pub(super) async fn pool_xml(&self, pool: &Named) -> Answer<String> {
        self.ask(Procedure::read(88), Encoder::new().with(pool).u32(0), text).await
    }

    pub(super) async fn pool_define(&self, xml: &str) -> Answer<Named> {
        self.ask(Procedure::change(77), Encoder::new().text(xml).u32(0), Named::read).await
    }

    /// Makes its directory.
    pub(super) async fn pool_build(&self, pool: &Named) -> Answer<()> {
        self.ask(Procedure::change(79), Encoder::new().with(pool).u32(0), |_| Ok(())).await
    }

    pub(super) async fn pool_start(&self, pool: &Named) -> Answer<()> {
        self.ask(Procedure::change(78), Encoder::new().with(pool).u32(0), |_| Ok(())).await
    }

    pub(super) async fn pool_autostart(&self, pool: &Named) -> Answer<()> {
        self.ask(Procedure::read(90), Encoder::new().with(pool).i32(1), |_| Ok(())).await
    }

    pub(super) async fn pool_refresh(&self, pool: &Named) -> Answer<()> {
        self.ask(Procedure::read(83), Encoder::new().with(pool).u32(0), |_| Ok(())).await
    }

    pub(super) async fn pool_stop(&self, pool: &Named) -> Answer<()> {
        self.ask(Procedure::change(80), Encoder::new().with(pool), |_| Ok(())).await
    }

    /// Removes its directory, which has to be empty.
    pub(super) async fn pool_delete(&self, pool: &Named) -> Answer<()> {
        self.ask(Procedure::change(81), Encoder::new().with(pool).u32(0), |_| Ok(())).await
    }

    pub(super) async fn pool_undefine(&self, pool: &Named) -> Answer<()> {
        let done = self.ask(Procedure::read(82), Encoder::new().with(pool), |_| Ok(())).await;
        found(done, code::NO_STORAGE_POOL).map(|_| ())
    }

    pub(super) async fn pool_volumes(&self, pool: &Named) -> Answer<Vec<Volume>> {
        let arguments = Encoder::new().with(pool).i32(ALL).u32(0);
        self.ask(Procedure::read(282), arguments, |from| from.list(Volume::read)).await
    }
}

/// Storage volumes.
impl Client {
    pub(super) async fn volume(&self, pool: &Named, name: &str) -> Answer<Option<Volume>> {
        let volume = self.ask(Procedure::read(95), Encoder::new().with(pool).text(name), Volume::read).await;
        found(volume, code::NO_STORAGE_VOL)
    }

    pub(super) async fn volume_by_path(&self, path: &str) -> Answer<Option<Volume>> {
        let volume = self.ask(Procedure::read(97), Encoder::new().text(path), Volume::read).await;
        found(volume, code::NO_STORAGE_VOL)
    }

    pub(super) async fn volume_path(&self, volume: &Volume) -> Answer<String> {
        self.ask(Procedure::read(100), Encoder::new().with(volume), text).await
    }

    pub(super) async fn volume_xml(&self, volume: &Volume) -> Answer<String> {
        self.ask(Procedure::read(99), Encoder::new().with(volume).u32(0), text).await
    }

    pub(super) async fn volume_create(&self, pool: &Named, xml: &str) -> Answer<Volume> {
        let arguments = Encoder::new().with(pool).text(xml).u32(0);
        self.ask(Procedure::change(93), arguments, Volume::read).await
    }

    /// Whether it was there.
    pub(super) async fn volume_delete(&self, volume: &Volume) -> Answer<bool> {
        let done = self.ask(Procedure::read(94), Encoder::new().with(volume).u32(0), |_| Ok(())).await;
        found(done, code::NO_STORAGE_VOL).map(|done| done.is_some())
    }
}

/// Number of the procedure that sends data into a volume.
pub(super) const UPLOAD: u32 = 208;
/// Number of the procedure that reads data out of a volume.
pub(super) const DOWNLOAD: u32 = 209;

/// What both take: the volume, where to begin, and how much.
pub(super) fn transfer(volume: &Volume, length: u64) -> Vec<u8> {
    Encoder::new().with(volume).u64(0).u64(length).u32(0).finish()
}
