package hwprobe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Schema names of the documents this package writes. A reader refuses any other.
const (
	SchemaCapture  = "untorn.hwprobe.capture/1"  // one Report
	SchemaCaptures = "untorn.hwprobe.captures/1" // {"captures": [Report...]}
)

// Bounds on what a capture may hold: a capture can come from anywhere.
const (
	maxCaptureBytes = 16 << 20
	maxCaptures     = 4096
	maxDevices      = 1024
	maxEdges        = 1024
)

// Report is everything that was read about one path. It is also the capture: what a Report says
// on the machine it was taken on, it says on any other.
type Report struct {
	Schema string `json:"schema"`
	Note   string `json:"note,omitempty"` // free text of whoever wrote the capture
	Path   string `json:"path"`           // as asked
	Time   string `json:"time,omitempty"` // RFC 3339
	Error  string `json:"error,omitempty"`
	// Masked tells that serial numbers and unique ids were blanked before the Report was handed out.
	Masked  bool     `json:"masked,omitempty"`
	Host    Host     `json:"host"`
	File    File     `json:"file"`
	Mount   *Mount   `json:"mount,omitempty"` // nil for a device
	Top     string   `json:"top,omitempty"`   // the device the file system, or the path itself, is on
	Devices []Device `json:"devices,omitempty"`
	Live    *Live    `json:"live,omitempty"` // only if the live probe was asked for
	// Origin names the file a capture was read from, for tables; it is no part of the capture.
	Origin string `json:"-"`
}

// Host is the machine the Report was taken on.
type Host struct {
	OS     Fact[string] `json:"os,omitzero"`
	Kernel Fact[string] `json:"kernel,omitzero"`
	Arch   Fact[string] `json:"arch,omitzero"`
	Root   Fact[bool]   `json:"root,omitzero"`
}

// Kinds of thing a path can be. Only FileRegular, FileProbe and FileBlock have pages.
const (
	FileRegular   = "regular"   // an existing file, looked at itself
	FileProbe     = "probe"     // a file made or found in the directory asked about
	FileBlock     = "block"     // a block device
	FileDirectory = "directory" // a directory in which no file could be looked at
)

// File is what the kernel says of the file (statx), and whether O_DIRECT opens it.
type File struct {
	Kind           string       `json:"kind,omitempty"`
	Subject        string       `json:"subject,omitempty"` // what was looked at, if not the path
	ReportsAtomic  Fact[bool]   `json:"reports_atomic,omitzero"`
	AtomicAttr     Fact[bool]   `json:"atomic_attribute,omitzero"`
	UnitMin        Fact[uint64] `json:"unit_min,omitzero"`
	UnitMax        Fact[uint64] `json:"unit_max,omitzero"`
	UnitMaxOpt     Fact[uint64] `json:"unit_max_opt,omitzero"`
	SegmentsMax    Fact[uint64] `json:"segments_max,omitzero"`
	DIOMemAlign    Fact[uint64] `json:"dio_mem_align,omitzero"`
	DIOOffsetAlign Fact[uint64] `json:"dio_offset_align,omitzero"`
	DirectOpens    Fact[bool]   `json:"direct_opens,omitzero"`
	Blksize        Fact[uint64] `json:"blksize,omitzero"`
}

// Mount is the line of /proc/self/mountinfo the file is under.
type Mount struct {
	FS      Fact[string] `json:"fs,omitzero"`
	Source  Fact[string] `json:"source,omitzero"`
	Point   Fact[string] `json:"point,omitzero"`
	Dev     Fact[string] `json:"dev,omitzero"`
	Options Fact[string] `json:"options,omitzero"`       // of this mount point
	Super   Fact[string] `json:"super_options,omitzero"` // of the file system
}

// Kinds of device. The first group stands on other devices, the second are leaves.
const (
	KindPartition     = "partition"
	KindDM            = "dm"
	KindMD            = "md"
	KindLoop          = "loop"
	KindBcache        = "bcache"
	KindNVMeMultipath = "nvme-multipath"

	KindNVMe     = "nvme"
	KindNVMePath = "nvme-path" // one controller's way to a namespace of KindNVMeMultipath
	KindSCSI     = "scsi"
	KindVirtio   = "virtio"
	KindPMem     = "pmem"
	KindOther    = "other"
)

// Device is one block device of the stack.
type Device struct {
	Name      string       `json:"name"`
	Dev       string       `json:"dev,omitempty"` // major:minor
	Kind      string       `json:"kind"`
	Driver    Fact[string] `json:"driver,omitzero"`
	On        []string     `json:"on,omitempty"` // names of the devices directly beneath
	Sectors   Fact[uint64] `json:"sectors,omitzero"`
	Queue     *Queue       `json:"queue,omitempty"` // nil for a partition: it uses its disk's
	Partition *Partition   `json:"partition,omitempty"`
	DM        *DM          `json:"dm,omitempty"`
	MD        *MD          `json:"md,omitempty"`
	Loop      *Loop        `json:"loop,omitempty"`
	NVMe      *NVMe        `json:"nvme,omitempty"`
	SCSI      *SCSI        `json:"scsi,omitempty"`
}

// Queue is /sys/block/NAME/queue.
type Queue struct {
	LogicalBlock   Fact[uint64] `json:"logical_block_size,omitzero"`
	PhysicalBlock  Fact[uint64] `json:"physical_block_size,omitzero"`
	WriteCache     Fact[string] `json:"write_cache,omitzero"`
	FUA            Fact[uint64] `json:"fua,omitzero"`
	AtomicUnitMin  Fact[uint64] `json:"atomic_write_unit_min_bytes,omitzero"`
	AtomicUnitMax  Fact[uint64] `json:"atomic_write_unit_max_bytes,omitzero"`
	AtomicMax      Fact[uint64] `json:"atomic_write_max_bytes,omitzero"`
	AtomicBoundary Fact[uint64] `json:"atomic_write_boundary_bytes,omitzero"`
	ChunkSectors   Fact[uint64] `json:"chunk_sectors,omitzero"`
	MaxHWSectorsKB Fact[uint64] `json:"max_hw_sectors_kb,omitzero"`
	Rotational     Fact[uint64] `json:"rotational,omitzero"`
	DAX            Fact[uint64] `json:"dax,omitzero"`
	Zoned          Fact[string] `json:"zoned,omitzero"`
}

// Partition is where a partition lies on its disk, in sectors of 512 bytes.
type Partition struct {
	Start Fact[uint64] `json:"start,omitzero"`
}

// DM is a device-mapper device. The table needs root; the UUID's prefix does not.
type DM struct {
	Name  Fact[string]    `json:"name,omitzero"`
	UUID  Fact[string]    `json:"uuid,omitzero"`
	Table Fact[[]Segment] `json:"table,omitzero"`
}

// Segment is one line of a device-mapper table, in sectors. Parameters that are no place on a
// device (a key, above all) are never kept.
type Segment struct {
	Target string   `json:"target"`
	Start  uint64   `json:"start"`
	Length uint64   `json:"length"`
	Chunk  uint64   `json:"chunk,omitempty"` // striped: sectors a stripe
	Parts  []Extent `json:"parts,omitempty"` // nil if the parameters are not understood
}

// Extent is a place on a device beneath, in sectors.
type Extent struct {
	Dev    string `json:"dev"`
	Offset uint64 `json:"offset"`
}

// MD is a software RAID.
type MD struct {
	Level   Fact[string] `json:"level,omitzero"`
	Chunk   Fact[uint64] `json:"chunk_bytes,omitzero"`
	Members []MDMember   `json:"members,omitempty"`
	Degrade Fact[uint64] `json:"degraded,omitzero"`
}

// MDMember is where an array's data begins on one member, in sectors.
type MDMember struct {
	Name   string       `json:"name"`
	Offset Fact[uint64] `json:"offset,omitzero"`
}

// Loop is a loop device and the file beneath it.
type Loop struct {
	Backing Fact[string] `json:"backing_file,omitzero"`
	Offset  Fact[uint64] `json:"offset,omitzero"`
	Direct  Fact[uint64] `json:"dio,omitzero"`
	FS      Fact[string] `json:"fs,omitzero"` // the file system that file is on
}

// NVMe is one way to one namespace: what sysfs and the drive itself say of it.
type NVMe struct {
	Controller string       `json:"controller,omitempty"`
	NSID       Fact[uint64] `json:"nsid,omitzero"`
	Transport  Fact[string] `json:"transport,omitzero"`
	Model      Fact[string] `json:"model,omitzero"`
	Firmware   Fact[string] `json:"firmware,omitzero"`
	Serial     Fact[string] `json:"serial,omitzero"`
	SubsysNQN  Fact[string] `json:"subsystem_nqn,omitzero"`
	Ctrl       IDCtrl       `json:"identify_controller"`
	NS         IDNS         `json:"identify_namespace"`
}

// SCSI is a SCSI (or SATA, by way of libata) disk.
type SCSI struct {
	Vendor    Fact[string] `json:"vendor,omitzero"`
	Model     Fact[string] `json:"model,omitzero"`
	Revision  Fact[string] `json:"revision,omitzero"`
	Adapter   Fact[string] `json:"adapter,omitzero"` // the host driver's name
	CacheType Fact[string] `json:"cache_type,omitzero"`
	// Block Limits VPD page (B0h), SBC-4: in logical blocks; 0 = not reported.
	MaxAtomic         Fact[uint64] `json:"max_atomic_blocks,omitzero"`
	AtomicAlignment   Fact[uint64] `json:"atomic_alignment_blocks,omitzero"`
	AtomicGranularity Fact[uint64] `json:"atomic_granularity_blocks,omitzero"`
}

// Live is what the live probe saw: rule 13.
type Live struct {
	Pages []LivePage `json:"pages,omitempty"`
	Error string     `json:"error,omitempty"` // it could not run
}

// LivePage holds the outcome of three RWF_ATOMIC writes: bytes written, or an errno's name.
type LivePage struct {
	Page    uint64 `json:"page_bytes"`
	Aligned string `json:"aligned"` // one page at a multiple of the page: must be the page's size
	Half    string `json:"half"`    // one page at half a page: must be EINVAL
	Beyond  string `json:"beyond"`  // 2 x unit_max: must be EINVAL
}

// ReadCaptures reads one document: a capture, or a list of them. It fails on malformed JSON, an
// unknown schema and on anything that contradicts itself; missing fields are fine.
func ReadCaptures(r io.Reader) ([]*Report, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxCaptureBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxCaptureBytes {
		return nil, fmt.Errorf("capture larger than %d bytes", maxCaptureBytes)
	}
	return parseCaptures(b)
}

func parseCaptures(b []byte) ([]*Report, error) {
	var head struct {
		Schema   string            `json:"schema"`
		Captures []json.RawMessage `json:"captures"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("not a capture: %w", err)
	}
	switch head.Schema {
	case SchemaCapture:
		r, err := parseCapture(b)
		if err != nil {
			return nil, err
		}
		return []*Report{r}, nil
	case SchemaCaptures:
		if len(head.Captures) == 0 || len(head.Captures) > maxCaptures {
			return nil, fmt.Errorf("%d captures in one file: want 1 to %d", len(head.Captures), maxCaptures)
		}
		out := make([]*Report, 0, len(head.Captures))
		for i, c := range head.Captures {
			r, err := parseCapture(c)
			if err != nil {
				return nil, fmt.Errorf("capture %d: %w", i, err)
			}
			out = append(out, r)
		}
		return out, nil
	}
	return nil, fmt.Errorf("not a capture: schema is %.60q, want %q or %q", head.Schema,
		SchemaCapture, SchemaCaptures)
}

func parseCapture(b []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("malformed capture: %w", err)
	}
	if r.Schema != SchemaCapture {
		return nil, fmt.Errorf("schema is %.60q, want %q", r.Schema, SchemaCapture)
	}
	return r, r.normalise()
}

// normalise bounds the capture, decodes raw Identify pages, and refuses what contradicts itself.
func (r *Report) normalise() error {
	if len(r.Devices) > maxDevices {
		return fmt.Errorf("%d devices: at most %d", len(r.Devices), maxDevices)
	}
	seen := make(map[string]bool, len(r.Devices))
	edges := 0
	for i := range r.Devices {
		d := &r.Devices[i]
		if d.Name == "" {
			return fmt.Errorf("device %d has no name", i)
		}
		if seen[d.Name] {
			return fmt.Errorf("device %q is listed twice", d.Name)
		}
		seen[d.Name] = true
		if edges += len(d.On); edges > maxEdges {
			return errors.New("too many links between devices")
		}
		if d.NVMe == nil {
			continue
		}
		if err := d.NVMe.Ctrl.decode(); err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		if err := d.NVMe.NS.decode(); err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return nil
}

// WriteCaptures writes the Reports as one document, in the form ReadCaptures takes.
func WriteCaptures(w io.Writer, reports []*Report) error {
	var doc any
	if len(reports) == 1 {
		doc = reports[0]
	} else {
		doc = struct {
			Schema   string    `json:"schema"`
			Captures []*Report `json:"captures"`
		}{SchemaCaptures, reports}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Failed is the Report of a path that could not be probed at all: it keeps the error, so that a
// capture answers as the probe did. Every verdict on it is unknown.
func Failed(path string, err error) *Report {
	return &Report{Schema: SchemaCapture, Path: path, Error: err.Error()}
}
