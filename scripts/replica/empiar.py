"""An entry of EMPIAR: DM3 files, and the entry's document."""

import datetime
import gzip

from .files import SEED, truth, write_json
from .texture import neuropil

ENTRY = 11759
FOLDER = f"ebi/empiar/world_availability/{ENTRY}/data"
DATASET = f"empiar-{ENTRY}"
#: Folders that hold nothing else.
PARTS = ["empiar", "ebi/empiar"]


def image_tags(shape, number):
    """The tags of the archive's files that are known, with the size of the cut-out and times 54 s apart."""
    local = datetime.datetime(2018, 6, 11, 22, 27, 16) + datetime.timedelta(seconds=54 * number)
    return {
        "DataBar": {
            "Acquisition Date": local.strftime("%d.%m.%Y"), "Acquisition Time": local.strftime("%H:%M:%S"),
            "Acquisition Time (OS)": 1.3173222436078186e17 + 54e7 * number, "Device Name": "DigiScan", "Signal Name": "3VBSED"},
        "DigiScan": {"Image Height": shape[1], "Image Width": shape[2], "Rotation": 0.0, "Sample Time": 0.5,
                     "TimeStamp": "Mon Jun 11 22:26:45 2018"},
        "GMS Version": {"Created": "3.21.1374.0", "Saved": "3.21.1374.0"},
        "Meta Data": {"Dimension info": [dict(Origin=0.0, Scale=scale, Units=unit)
                                         for scale, unit in ((0.00799825, "µm"), (0.00799825, "µm"), (50.0, "nm"))],
                      "Format": "Image", "Signal": "DigiScan"},
        "Microscope Info": {
            "Emission Current (µA)": 0.0, "Field of View (µm)": 65.52167114273233, "Formatted Indicated Mag": "2.2kx",
            "Formatted Voltage": "1.9kV", "Illumination Mode": "SEM", "Imaging Mode": "IMAGING",
            "Indicated Magnification": 2159.0, "Name": "FEI Quanta", "Operation Mode": "SCANNING",
            "Probe Current (nA)": 0.0, "Probe Size (nm)": 0.0, "SEM Chamber Pressure (Torr)": 8.406849713859239e-06,
            "Spot Size": -7000.0, "Voltage": 1900.0, "WD (mm)": 5.500151666250906,
            "Stage Position": {"Stage X": 79.26780559398513, "Stage Y": -773.6633039403846,
                               "Stage Z": 21.049806806776274 + 0.0499 * number}},
        "SBFSEM": {
            # Such settings hold an address and a user's name in the archive; these are nobody's.
            "E-mail Alert": {"Send to": "operator@example.org"},
            "Imaging": {"Record pixel size": 8.0, "Record pixel time": 0.5,
                        "Record scan height": shape[1], "Record scan width": shape[2]},
            "Record": {"Base file name": "C:\\Users\\operator\\F57\\F57-8\\test1\\F57-8_test1", "Slice number": 250,
                       "Slice thickness": 50.0}},
        "Session Info": {"Detector": "3VBSED"},
    }


def write(output):
    """Sections as DM3 files with thumbnails of two sizes, what else is in their folder, and the entry's document."""
    import io

    import numpy
    from nion.data import Calibration, DataAndMetadata
    from nionswift_plugin.DM_IO import dm3_image_utils, parse_dm3

    shape = (8, 110, 120)
    light, _ = neuropil(shape, SEED + 3, 0.9, 3.0)
    low, high = 65, 123
    voxels = (low - 3 + (high - low + 6) * light).round().clip(0, 255).astype(numpy.uint8)
    folder = output / FOLDER
    folder.mkdir(parents=True)
    length = Calibration.Calibration(0, 0.00799825, "µm")
    start = datetime.datetime(2018, 6, 11, 20, 27, 16)
    for number, plane in enumerate(voxels):
        name = f"3VBSED_slice_{number:04d}"
        tags = image_tags(shape, number)
        xdata = DataAndMetadata.new_data_and_metadata(
            # As signed bytes, which this writer takes and labels as unsigned ones.
            numpy.ascontiguousarray(plane).view(numpy.int8), dimensional_calibrations=[length, length], metadata=tags,
            timestamp=start + datetime.timedelta(seconds=54 * number))
        written = {}
        original = parse_dm3.dm_write_header
        parse_dm3.dm_write_header = lambda file, version, document: written.update(document)
        try:
            dm3_image_utils.save_image(xdata, io.BytesIO(), 3)
        finally:
            parse_dm3.dm_write_header = original
        # DigitalMicrograph puts a thumbnail before the image; it differs in size within the entry, and so do all offsets.
        step = 5 if number < 5 else 3
        grey = plane[::step, ::step]
        thumbnail = numpy.stack([grey, grey, grey, numpy.full_like(grey, 255)], axis=-1)
        written["ImageList"].insert(0, {"ImageData": dm3_image_utils.ndarray_to_imagedatadict(thumbnail)})
        written["ImageList"][1]["Name"] = name
        written["ImageSourceList"][0]["ImageRef"] = 1
        written["Thumbnails"] = [{"ImageIndex": 0}]
        written["DocumentObjectList"][0]["ImageDisplayInfo"] = {"HighLimit": float(high), "LowLimit": float(low)}
        path = folder / f"F57-8_test1_{name}.dm3"
        with open(path, "wb") as file:
            parse_dm3.dm_write_header(file, 3, written)
        with open(path, "rb") as file:
            header = parse_dm3.dm_read_header(file)
        data = header["ImageList"][1]["ImageData"]
        assert data["DataType"] == 6, "unsigned bytes"
        assert (dm3_image_utils.imagedatadict_to_ndarray(data).view(numpy.uint8) == plane).all()
    project = b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<trakem2></trakem2>\n'
    (folder / "F57-8_test1.xml.gz").write_bytes(gzip.compress(project, mtime=0))
    mipmaps = folder / "trakem2.1528909664283.981147357.856576865"
    mipmaps.mkdir()
    (mipmaps / "README").write_text("Mipmaps of TrakEM2 are here in the archive.\n")

    name, title = "Wilsch-Bräuninger M", "Developing retina in zebrafish 55 hpf larval eye."
    details = (f"{title} \nIt is a SBF-SEM data set. \nThe resolution is 8nm/px in xy and 50nm per section (z). \n\n"
               "If this is also where to enter, the acquisition conditions on the FEI Magellan400 SEM were 1.9kV accelerating "
               "voltage and 200pA current at 0.5 usec dwell time. \nThe microtome unit of the SBF-SEM is called Gatan 3ViewXP.")
    institute = "Max Planck Institute of Molecular Cell Biology and Genetics"
    person = {"author_orcid": None, "country": "Germany", "first_name": "Michaela", "last_name": "Wilsch-Bräuninger",
              "middle_name": None, "organization": institute, "post_or_zip": "01307", "state_or_province": None, "street": None,
              "town_or_city": "Dresden"}
    unpublished = dict.fromkeys(("book_chapter_title", "details", "doi", "first_page", "issue", "journal", "journal_abbreviation",
                                 "language", "last_page", "preprint", "pubmedid", "volume", "year"))
    entry = {
        "authors": [{"author": {"author_orcid": None, "name": name}}], "biostudies_references": [],
        "citation": [{"authors": [{"author_orcid": None, "name": name}], "country": "", "editors": [],
                      "j_or_nj_citation": False, "publication_location": "", "published": False, "publisher": "",
                      "title": title, **unpublished}],
        "corresponding_author": {"author": person}, "cross_references": [], "dataset_size": "1.2 GB",
        "deposition_date": "2023-11-01", "empiar_references": [], "entry_doi": f"10.6019/EMPIAR-{ENTRY}",
        "experiment_type": "SBF-SEM", "grant_references": [], "idr_references": [],
        "imagesets": [{
            "category": "reconstructed volumes", "data_format": "DM3", "details": details, "directory": "data",
            "frame_range_max": None, "frame_range_min": None, "frames_per_image": 1, "header_format": "DM3",
            # As in the archive, where the entry has 5632 and 5628 and the files have 5500 rows of 5496 columns.
            "image_height": str(shape[1] + 132), "image_width": str(shape[2] + 132),
            "micrographs_file_pattern": "", "name": title, "num_images_or_tilt_series": shape[0],
            "picked_particles_directory": "", "picked_particles_file_pattern": "", "pixel_height": 80.0, "pixel_width": 80.0,
            "segmentations": [], "voxel_type": "UNSIGNED BYTE",
        }],
        "obsolete_date": None, "principal_investigator": [person | {"entry": f"EMPIAR-{ENTRY}"}],
        "release_date": "2024-01-15", "scale": "tissue", "status": "REL", "title": title, "update_date": "2024-01-15",
        "version_history": [], "workflow_file": None,
    }
    write_json(output / "empiar" / "entry.json", {f"EMPIAR-{ENTRY}": entry})
    return {"em": truth(voxels)}
