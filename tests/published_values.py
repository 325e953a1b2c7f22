"""What pages, papers and files say for certain of the five datasets, typed by hand.

For each dataset:
- VALUE: (place in the record, value, unit): the record's value.
- FOUND: (document, place in it, value): what a document of the archive says and the record keeps.
- BESIDE: (place in the record, value, unit): said elsewhere and wrong, kept beside the value.
- CUT: (place in the record, value of the archive, unit, value of the replica): the replica is a cut-out.
- ADDRESS: (place in the record, end of the address): the replica is on another host.

Places are JSON Pointers. Units are those of the record: in the field's name, or beside the value.
"""

import pytest

ENTRY, IMAGES = "/EMPIAR-11759", "/EMPIAR-11759/imagesets/0"
TAGS = "/ImageList/1/ImageTags"
NM = "nanometer"

IDR_AUTHORS = ["Miron E", "Oldenkamp R", "Brown JM", "Pinto DMS", "Xu CS", "Faria AR", "Shaban HA", "Rhodes JDP", "Innocent C",
               "de Ornellas S", "Hess HF", "Buckle V", "Schermelleh L"]
IDR_FILE = "Figure_S3B_FIB-SEM_U2OS_20x20x20nm_xy.tif"
IDR_FOLDER = "idr0086-miron-micrographs/20200610-ftp/experimentD/Miron_FIB-SEM/Miron_FIB-SEM_processed"
EMPIAR_TITLE = "Developing retina in zebrafish 55 hpf larval eye."
MPI = "Max Planck Institute of Molecular Cell Biology and Genetics"


def triple(field, values, unit):
    """The three rows of a field along z, y, x."""
    return [(f"{field}/{axis}", value, unit) for axis, value in zip("zyx", values, strict=True)]


def cut(field, archive, unit, replica):
    return [(f"{field}/{axis}", a, unit, r) for axis, a, r in zip("zyx", archive, replica, strict=True)]


CERTAIN = {
    "idr-9846137": {
        "VALUE": [
            ("/study/archive", "Image Data Resource", None),
            ("/study/accession", "idr0086", None),
            ("/study/landing_page", "https://idr.openmicroscopy.org/webclient/img_detail/9846137/?dataset=10740", None),
            ("/study/title", "Chromatin arranges in chains of mesoscale domains with nanoscale functional topography "
                             "independent of cohesin", None),
            ("/study/authors", IDR_AUTHORS, None),
            ("/study/doi", ["10.17867/10000141d", "10.1126/sciadv.aba8811", "10.17867/10000141"], None),
            ("/study/licence", "CC-BY-4.0", None),
            ("/study/licence_url", "https://creativecommons.org/licenses/by/4.0/", None),
            ("/study/copyright", "Lothar Schermelleh and Ezequiel Miron", None),
            ("/study/publisher", "University of Dundee", None),
            ("/study/release_date", "2020-07-22", None),
            ("/study/references/2", "https://doi.org/10.1038/nmeth.4326", None),
            ("/extra/curated/study_name", "idr0086-miron-micrographs", None),
            ("/extra/curated/pubmed_id", 32967822, None),
            ("/extra/curated/pmc_id", "PMC7531892", None),
            ("/extra/curated/figure", "S3B", None),
            ("/extra/curated/file_bytes", 159884524, "byte"),
            ("/extra/curated/globus_collection", "47772002-3e5b-4fd3-b97c-18cee38d6df2", None),
            ("/extra/curated/globus_path", "/pub/databases/IDR/idr0086-miron-micrographs/20200610-ftp/experimentD", None),
            ("/biosample/organism", "Homo sapiens", None),
            ("/biosample/common_name", "human", None),
            ("/biosample/ncbi_taxid", 9606, None),
            ("/biosample/cell_line", "U2OS", None),
            ("/biosample/stage", "G1", None),
            ("/extra/curated/cell_line_origin", "osteosarcoma", None),
            ("/specimen/preparation", "high-pressure frozen, freeze-substituted (2 % OsO4, 0.1 % uranyl acetate, 3 % water in "
                                      "acetone), embedded in Eponate 12", None),
            ("/acquisition/method", "FIB-SEM", None),
            ("/acquisition/instrument", "custom Zeiss Merlin crossbeam", None),
            ("/acquisition/accelerating_voltage_kv", 1.2, "kilovolt"),
            ("/acquisition/beam_current_na", 2, "nanoampere"),
            ("/acquisition/scan_rate_mhz", 0.5, "megahertz"),
            ("/acquisition/slice_thickness_nm", 5, NM),
            ("/acquisition/duration_days", 6, "day"),
            ("/extra/curated/acquired_pixel_nm", 8, NM),
            ("/images/0/dtype", "uint8", None),
            *triple("/images/0/voxel_size", (20, 20, 20), NM),
            ("/images/0/anisotropy", 1, None),
            ("/images/0/display_window/low", 36, None),
            ("/images/0/display_window/high", 199, None),
            ("/images/0/lossy", False, None),
            ("/images/0/level_count", 1, None),
            ("/images/0/upstream_format", "ImageJ TIFF, big-endian, uncompressed", None),
        ],
        "FOUND": [
            ("omero-projects.json", "/data/0/Name", "idr0086-miron-micrographs/experimentD"),
            ("omero-projects.json", "/data/0/@id", 1161),
            ("omero-datasets.json", "/data/0/Name", "U2OS_chromatin"),
            ("omero-datasets.json", "/data/0/@id", 10740),
            ("omero-image.json", "/data/@id", 9846137),
            ("omero-image.json", "/data/Name", IDR_FILE),
            ("omero-image.json", "/data/Pixels/SizeC", 1),
            ("omero-image.json", "/data/Pixels/SizeT", 1),
            ("omero-image.json", "/data/Pixels/SignificantBits", 8),
            ("omero-image.json", "/data/Pixels/Type/value", "uint8"),
            ("omero-image.json", "/data/Pixels/PhysicalSizeX/Value", 0.02),
            ("omero-image.json", "/data/Pixels/PhysicalSizeY/Value", 0.02),
            ("omero-image.json", "/data/Pixels/PhysicalSizeZ/Value", 0.02),
            ("omero-files.json", "/client/0", f"uod/idr/filesets/{IDR_FOLDER}/{IDR_FILE}"),
            ("omero-annotations.json", "/annotations/0/values/0/1", "G1"),
            ("omero-annotations.json", "/annotations/0/values/1/1", "chromatin image in U2OS cells in G1"),
            ("omero-annotations.json", "/annotations/0/values/2/1", "FIB-SEM chromatin IF image in U2OS cells in G1"),
            ("omero-annotations.json", "/annotations/0/values/3/1", "Channel 1: greyscale cell"),
            ("omero-annotations.json", "/annotations/1/values/0/1", "Homo sapiens"),
            ("omero-annotations.json", "/annotations/2/values/0/1", "U2OS"),
            ("tiff-tags.json", "/byte_order", "big-endian"),
            ("tiff-tags.json", "/big_tiff", False),
            ("tiff-tags.json", "/tags/BitsPerSample/value", 8),
            ("tiff-tags.json", "/tags/SamplesPerPixel/value", 1),
            ("tiff-tags.json", "/tags/ResolutionUnit/value", 1),
            ("tiff-tags.json", "/description/unit", "\\u00B5m"),
            ("tiff-tags.json", "/description/spacing", "0.02"),
            ("tiff-tags.json", "/description/min", "36.0"),
            ("tiff-tags.json", "/description/max", "199.0"),
        ],
        "BESIDE": [
            ("/images/0/voxel_size/x", 50, NM),
            ("/acquisition/method_fbbi_id", "FBbi:00000257", None),
        ],
        "CUT": [
            *cut("/images/0/shape", (184, 775, 1121), "voxel", (24, 155, 225)),
            ("/images/0/bytes_uncompressed", 159854600, "byte", 837000),
            ("/images/0/bytes_on_the_wire", 159854600, "byte", 837000),
        ],
        "ADDRESS": [("/images/0/url", f"/pub/databases/IDR/{IDR_FOLDER}/{IDR_FILE}")],
    },
    "empiar-11759": {
        "VALUE": [
            ("/study/archive", "EMPIAR", None),
            ("/study/accession", "EMPIAR-11759", None),
            ("/study/title", EMPIAR_TITLE, None),
            ("/study/doi", ["10.6019/EMPIAR-11759"], None),
            ("/study/authors", ["Wilsch-Bräuninger M"], None),
            ("/study/licence", "CC0-1.0", None),
            ("/study/deposition_date", "2023-11-01", None),
            ("/study/release_date", "2024-01-15", None),
            ("/biosample/organism", "Danio rerio", None),
            ("/biosample/common_name", "zebrafish", None),
            ("/biosample/ncbi_taxid", 7955, None),
            ("/biosample/tissue", "developing retina, eye", None),
            ("/biosample/stage", "larva, 55 hours post fertilisation", None),
            ("/acquisition/method", "SBF-SEM", None),
            ("/acquisition/instrument", "FEI Magellan 400 with Gatan 3View XP", None),
            ("/acquisition/detector", "3VBSED", None),
            ("/acquisition/accelerating_voltage_kv", 1.9, "kilovolt"),
            ("/acquisition/beam_current_na", 0.2, "nanoampere"),
            ("/acquisition/dwell_time_us", 0.5, "microsecond"),
            ("/acquisition/slice_thickness_nm", 50, NM),
            ("/acquisition/started", "2018-06-11T20:27:16Z", None),
            ("/extra/curated/last_image", "2018-06-11T20:40:48Z", None),
            ("/extra/curated/file_pattern", "F57-8_test1_3VBSED_slice_0000.dm3 to _0015.dm3", None),
            ("/extra/curated/file_bytes", 488981792, "byte"),
            ("/images/0/dtype", "uint8", None),
            *triple("/images/0/voxel_size", (50, pytest.approx(7.99825, rel=1e-6), pytest.approx(7.99825, rel=1e-6)), NM),
            ("/images/0/display_window/low", 65, None),
            ("/images/0/display_window/high", 123, None),
            ("/images/0/lossy", False, None),
            ("/images/0/upstream_format", "DM3, little-endian, a file per z", None),
        ],
        "FOUND": [
            ("empiar-entry.json", f"{ENTRY}/title", EMPIAR_TITLE),
            ("empiar-entry.json", f"{ENTRY}/experiment_type", "SBF-SEM"),
            ("empiar-entry.json", f"{ENTRY}/scale", "tissue"),
            ("empiar-entry.json", f"{ENTRY}/status", "REL"),
            ("empiar-entry.json", f"{ENTRY}/update_date", "2024-01-15"),
            ("empiar-entry.json", f"{ENTRY}/dataset_size", "1.2 GB"),
            ("empiar-entry.json", f"{ENTRY}/entry_doi", "10.6019/EMPIAR-11759"),
            ("empiar-entry.json", f"{ENTRY}/corresponding_author/author/first_name", "Michaela"),
            ("empiar-entry.json", f"{ENTRY}/corresponding_author/author/last_name", "Wilsch-Bräuninger"),
            ("empiar-entry.json", f"{ENTRY}/corresponding_author/author/organization", MPI),
            ("empiar-entry.json", f"{ENTRY}/corresponding_author/author/town_or_city", "Dresden"),
            ("empiar-entry.json", f"{ENTRY}/corresponding_author/author/country", "Germany"),
            ("empiar-entry.json", f"{ENTRY}/corresponding_author/author/post_or_zip", "01307"),
            ("empiar-entry.json", f"{ENTRY}/principal_investigator/0/last_name", "Wilsch-Bräuninger"),
            ("empiar-entry.json", f"{ENTRY}/citation/0/published", False),
            ("empiar-entry.json", f"{ENTRY}/citation/0/j_or_nj_citation", False),
            ("empiar-entry.json", f"{IMAGES}/name", EMPIAR_TITLE),
            ("empiar-entry.json", f"{IMAGES}/directory", "data"),
            ("empiar-entry.json", f"{IMAGES}/category", "reconstructed volumes"),
            ("empiar-entry.json", f"{IMAGES}/header_format", "DM3"),
            ("empiar-entry.json", f"{IMAGES}/data_format", "DM3"),
            ("empiar-entry.json", f"{IMAGES}/frames_per_image", 1),
            ("empiar-entry.json", f"{IMAGES}/voxel_type", "UNSIGNED BYTE"),
            ("empiar-entry.json", f"{IMAGES}/pixel_width", 80.0),
            ("empiar-entry.json", f"{IMAGES}/pixel_height", 80.0),
            ("dm-tags.json", "/ImageList/1/ImageData/DataType", 6),
            ("dm-tags.json", "/ImageList/1/ImageData/PixelDepth", 1),
            ("dm-tags.json", "/ImageList/1/Name", "3VBSED_slice_0000"),
            ("dm-tags.json", "/ImageSourceList/0/ImageRef", 1),
            ("dm-tags.json", "/Thumbnails/0/ImageIndex", 0),
            ("dm-tags.json", f"{TAGS}/Meta Data/Dimension info/2/Scale", 50.0),
            ("dm-tags.json", f"{TAGS}/Meta Data/Dimension info/2/Units", "nm"),
            ("dm-tags.json", f"{TAGS}/SBFSEM/Record/Slice thickness", 50.0),
            ("dm-tags.json", f"{TAGS}/SBFSEM/Imaging/Record pixel size", 8.0),
            ("dm-tags.json", f"{TAGS}/DataBar/Acquisition Date", "11.06.2018"),
            ("dm-tags.json", f"{TAGS}/DataBar/Acquisition Time", "22:27:16"),
            ("dm-tags.json", f"{TAGS}/DataBar/Acquisition Time (OS)", 1.3173222436078186e17),
            ("dm-tags.json", f"{TAGS}/DataBar/Device Name", "DigiScan"),
            ("dm-tags.json", f"{TAGS}/DigiScan/TimeStamp", "Mon Jun 11 22:26:45 2018"),
            ("dm-tags.json", f"{TAGS}/DigiScan/Sample Time", 0.5),
            ("dm-tags.json", f"{TAGS}/DigiScan/Rotation", 0.0),
            ("dm-tags.json", f"{TAGS}/GMS Version/Created", "3.21.1374.0"),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Voltage", 1900.0),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Formatted Voltage", "1.9kV"),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Indicated Magnification", 2159.0),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Illumination Mode", "SEM"),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Imaging Mode", "IMAGING"),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Operation Mode", "SCANNING"),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Probe Current (nA)", 0.0),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Emission Current (µA)", 0.0),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Probe Size (nm)", 0.0),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Spot Size", -7000.0),
            ("dm-tags.json", f"{TAGS}/Microscope Info/WD (mm)", pytest.approx(5.500, abs=5e-4)),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Field of View (µm)", pytest.approx(65.52, abs=5e-3)),
            ("dm-tags.json", f"{TAGS}/Microscope Info/SEM Chamber Pressure (Torr)", pytest.approx(8.4e-6, rel=1e-2)),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Stage Position/Stage X", pytest.approx(79.268, abs=5e-4)),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Stage Position/Stage Y", pytest.approx(-773.663, abs=5e-4)),
            ("dm-tags.json", f"{TAGS}/Microscope Info/Stage Position/Stage Z", pytest.approx(21.0498, abs=5e-5)),
            ("dm-tags.json", f"{TAGS}/Session Info/Detector", "3VBSED"),
            ("dm-tags.json", "/DocumentObjectList/0/ImageDisplayInfo/LowLimit", 65.0),
            ("dm-tags.json", "/DocumentObjectList/0/ImageDisplayInfo/HighLimit", 123.0),
        ],
        "BESIDE": [
            ("/images/0/voxel_size/x", 8, NM),
            ("/images/0/voxel_size/y", 8, NM),
            ("/acquisition/instrument", "FEI Quanta", None),
        ],
        "CUT": [
            # The entry says 5632 rows of 5628 columns and 16 images.
            *cut("/images/0/shape", (16, 5500, 5496), "voxel", (8, 110, 120)),
            ("/images/0/bytes_uncompressed", 483648000, "byte", 105600),
            ("/images/0/bytes_on_the_wire", 483648000, "byte", 105600),
        ],
        "ADDRESS": [("/images/0/url", "/empiar/world_availability/11759/data")],
    },
    "epfl-hippocampus": {
        "VALUE": [
            ("/study/landing_page", "https://www.epfl.ch/labs/cvlab/data/data-em/", None),
            ("/study/licence", None, None),
            ("/study/licence_statement", "not stated; research use, cite the authors", None),
            ("/study/citation", "Lucchi A, Li Y, Fua P. Learning for Structured Prediction Using Approximate Subgradient Descent "
                                "with Working Sets. CVPR 2013.", None),
            ("/study/references/1", "https://ieeexplore.ieee.org/document/6619103", None),
            ("/biosample/organism", None, None),
            ("/biosample/tissue", "hippocampus, CA1 region", None),
            ("/acquisition/method", "FIB-SEM", None),
            ("/extra/curated/extent_as_stated", "5x5x5µm", None),
            ("/extra/curated/volumedata_bytes", 3353674357, "byte"),
            ("/extra/curated/volumedata_md5", "14fc2fb6a5061ea4ea9b69a090c327c9", None),
            ("/extra/curated/part_bytes", 129919357, "byte"),
            *[row for image in range(5) for row in triple(f"/images/{image}/voxel_size", (5, 5, 5), NM)],
            *[(f"/images/{image}/dtype", "uint8", None) for image in range(5)],
            *[(f"/images/{image}/lossy", False, None) for image in range(5)],
            *[(f"/images/{image}/upstream_format", "TIFF, little-endian, uncompressed", None) for image in range(5)],
            ("/images/0/name", "em", None),
            ("/images/1/name", "training", None),
            ("/images/2/content_type", "segmentation", None),
            ("/images/2/label_of", "training", None),
            ("/images/3/name", "testing", None),
            ("/images/4/content_type", "segmentation", None),
            ("/images/4/label_of", "testing", None),
        ],
        "FOUND": [
            ("tiff-tags.json", "/big_tiff", False),
            ("tiff-tags.json", "/byte_order", "little-endian"),
            ("tiff-tags.json", "/tags/Software/value", "InsightToolkit"),
            ("tiff-tags.json", "/tags/BitsPerSample/value", 8),
            ("tiff-tags.json", "/tags/Compression/value", 1),
            ("tiff-tags.json", "/tags/SamplesPerPixel/value", 1),
            ("tiff-tags.json", "/tags/PlanarConfiguration/value", 1),
            ("tiff-tags.json", "/tags/Orientation/value", 1),
            ("tiff-tags.json", "/tags/NewSubfileType/value", 2),
        ],
        "BESIDE": [
            ("/images/0/shape/y", 2048, "voxel"),
            ("/images/0/shape/x", 1536, "voxel"),
        ],
        "CUT": [
            *cut("/images/0/shape", (1065, 1536, 2048), "voxel", (20, 144, 192)),
            ("/images/0/bytes_uncompressed", 3350200320, "byte", 552960),
            ("/images/0/bytes_on_the_wire", 3350200320, "byte", 552960),
            *[row for image in range(1, 5) for row in cut(f"/images/{image}/shape", (165, 768, 1024), "voxel", (11, 72, 96))],
        ],
        "ADDRESS": [
            (f"/images/{image}/url", f"/groups/c/cv/cvlab-unit/www/data/%20ElectronMicroscopy_Hippocampus/{name}.tif")
            for image, name in enumerate(("volumedata", "training", "training_groundtruth", "testing", "testing_groundtruth"))
        ],
    },
    "jrc_mus-nacc-2": {
        "VALUE": [
            ("/study/archive", "OpenOrganelle", None),
            ("/study/accession", "jrc_mus-nacc-2", None),
            ("/study/landing_page", "https://openorganelle.janelia.org/datasets/jrc_mus-nacc-2", None),
            ("/study/doi", ["10.25378/janelia.24222898"], None),
            ("/study/publisher", "HHMI Janelia", None),
            ("/study/licence", "CC-BY-4.0", None),
            ("/study/authors", ["Richard Weinberg", "C. Shan Xu", "Kenneth Hayworth", "Gleb Shtengel", "Harald Hess"], None),
            ("/study/references", ["https://doi.org/10.25378/janelia.24222898", "https://doi.org/10.1038/s41586-021-03992-4",
                                   "https://doi.org/10.7554/eLife.25916", "https://doi.org/10.1073/pnas.1701078114"], None),
            ("/biosample/organism", "Mus musculus", None),
            ("/biosample/common_name", "mouse", None),
            ("/biosample/ncbi_taxid", 10090, None),
            ("/biosample/strain", "C57BL/6J, wild type, adult, male", None),
            ("/biosample/tissue", "nucleus accumbens", None),
            ("/acquisition/method", "FIB-SEM", None),
            ("/acquisition/instrument", "enhanced FIB-SEM of Janelia", None),
            ("/acquisition/started", "2015-03-09", None),
            ("/acquisition/duration_days", 1, "day"),
            ("/acquisition/bias_voltage_v", 500, "volt"),
            ("/acquisition/scan_rate_mhz", 0.4, "megahertz"),
            ("/acquisition/beam_current_na", 0.22, "nanoampere"),
            ("/acquisition/accelerating_voltage_kv", 0.2, "kilovolt"),
            ("/acquisition/slice_thickness_nm", 2.96, NM),
            ("/extra/curated/extent_nm", [1669.44, 10080, 10384], NM),
            ("/extra/curated/voxel_size_as_stated", "(4, 4, 2.96) (x, y, z)", None),
            ("/extra/curated/animals_from", "Charles River", None),
            ("/extra/curated/nuclei_doi", "10.25378/janelia.26513209", None),
            ("/extra/curated/archive_files", 17285, None),
            ("/extra/curated/archive_bytes", 4651506383, "byte"),
            ("/images/0/dtype", "int16", None),
            ("/images/0/lossy", False, None),
            ("/images/0/upstream_format", "OME-NGFF 0.4 in Zarr v2, zstd", None),
            ("/images/0/axes", ["z", "y", "x"], None),
            *triple("/images/0/voxel_size", (2.96, 4, 4), NM),
            *triple("/images/0/origin", (0, 0, 0), NM),
            *triple("/images/0/chunk", (64, 64, 64), "voxel"),
            ("/images/0/levels/0/scale_nm", [2.96, 4, 4], NM),
            ("/images/0/levels/0/translation_nm", [0, 0, 0], NM),
            ("/images/0/levels/1/scale_nm", [5.92, 8, 8], NM),
            ("/images/0/levels/1/translation_nm", [1.48, 2, 2], NM),
            ("/images/0/levels/2/scale_nm", pytest.approx([11.84, 16, 16]), NM),
            ("/images/0/levels/2/translation_nm", pytest.approx([4.44, 6, 6]), NM),
            ("/images/0/levels/3/scale_nm", pytest.approx([23.68, 32, 32]), NM),
            ("/images/0/levels/3/translation_nm", pytest.approx([10.36, 14, 14]), NM),
            *[(f"/images/0/levels/{level}/chunk", [64, 64, 64], "voxel") for level in range(4)],
        ],
        "FOUND": [
            ("zattrs.json", "/multiscales/0/version", "0.4"),
            ("zattrs.json", "/multiscales/0/name", ""),
            ("zattrs.json", "/multiscales/0/type", None),
            ("zattrs.json", "/multiscales/0/metadata", None),
            ("zattrs.json", "/multiscales/0/coordinateTransformations/0/scale", [1.0, 1.0, 1.0]),
            *[("zattrs.json", f"/multiscales/0/axes/{number}/{key}", value)
              for number, axis in enumerate("zyx") for key, value in (("name", axis), ("type", "space"), ("unit", NM))],
            *[("zattrs.json", f"/multiscales/0/datasets/{level}/path", f"s{level}") for level in range(4)],
            *[(f"zarray-s{level}.json", place, value) for level in range(4) for place, value in (
                ("/dtype", "<i2"), ("/order", "C"), ("/fill_value", 0), ("/filters", None), ("/zarr_format", 2),
                ("/compressor/id", "zstd"), ("/compressor/level", 1), ("/dimension_separator", "/"))],
        ],
        "BESIDE": [
            ("/images/0/dtype", "uint16", None),
            ("/images/0/voxel_size/z", 4, NM),
        ],
        "CUT": [
            *cut("/images/0/shape", (564, 2520, 2596), "voxel", (70, 150, 170)),
            ("/images/0/bytes_uncompressed", 7379285760, "byte", 3570000),
            ("/images/0/level_count", 9, None, 4),
            ("/images/0/levels/1/shape", [282, 1260, 1298], "voxel", [35, 75, 85]),
            ("/images/0/levels/2/shape", [141, 630, 649], "voxel", [17, 37, 42]),
            ("/images/0/levels/3/shape", [70, 315, 324], "voxel", [8, 18, 21]),
        ],
        "ADDRESS": [("/images/0/url", "janelia-cosem-datasets/jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16")],
    },
    "hemibrain": {
        "VALUE": [
            ("/study/archive", "Janelia FlyEM", None),
            ("/study/landing_page", "https://www.janelia.org/project-team/flyem/hemibrain", None),
            ("/study/doi", ["10.7554/eLife.57443"], None),
            ("/study/licence", "CC-BY-4.0", None),
            ("/study/citation", "Scheffer LK, Xu CS, Januszewski M, et al. A connectome and analysis of the adult Drosophila central "
                                "brain. eLife 2020;9:e57443.", None),
            ("/study/release_date", "2020-01-22", None),
            ("/study/references/2", "https://tinyurl.com/hemibrain-ng", None),
            ("/biosample/organism", "Drosophila melanogaster", None),
            ("/biosample/common_name", "fruit fly", None),
            ("/biosample/ncbi_taxid", 7227, None),
            ("/biosample/stage", "adult", None),
            ("/specimen/preparation", "cut by a hot knife into slabs of about 20 µm, imaged one by one and joined", None),
            ("/acquisition/method", "FIB-SEM", None),
            ("/extra/curated/slabs", 13, None),
            ("/extra/curated/slab_thickness_um", 20, "micrometer"),
            ("/extra/curated/slab_borders_x", [0, 2655, 5251, 7920, 10600, 13229, 15895, 18489, 21204, 24041, 26853, 29743, 32360,
                                               34427], "voxel"),
            ("/extra/curated/archive_terabytes", 26, "terabyte"),
            ("/extra/curated/viewer", "https://tinyurl.com/hemibrain-ng", None),
            ("/images/0/name", "em", None),
            ("/images/5/name", "em-raw", None),
            *[row for image in (0, 5) for row in (
                (f"/images/{image}/dtype", "uint8", None), (f"/images/{image}/lossy", True, None),
                (f"/images/{image}/upstream_format", "neuroglancer precomputed, sharded, JPEG (lossy)", None),
                *triple(f"/images/{image}/voxel_size", (8, 8, 8), NM), *triple(f"/images/{image}/chunk", (64, 64, 64), "voxel"),
                (f"/images/{image}/anisotropy", 1, None), (f"/images/{image}/levels/1/scale_nm", [16, 16, 16], NM),
                (f"/images/{image}/levels/2/scale_nm", [32, 32, 32], NM))],
        ],
        "FOUND": [
            ("info.json", "/num_channels", 1),
            ("info.json", "/type", "image"),
            ("info.json", "/data_type", "uint8"),
            ("info.json", "/scales/0/encoding", "jpeg"),
            ("info.json", "/scales/0/resolution/0", 8.0),
            ("em-raw.info.json", "/num_channels", 1),
            ("em-raw.info.json", "/scales/0/encoding", "jpeg"),
        ],
        "BESIDE": [
            *[(f"/images/0/shape/{axis}", value, "voxel") for axis, value in zip("zyx", (41408, 39552, 34432), strict=True)],
            *[(f"/images/0/shape/{axis}", value, "voxel") for axis, value in zip("zyx", (41407, 39743, 34431), strict=True)],
        ],
        "CUT": [
            *[row for image in (0, 5) for row in cut(f"/images/{image}/shape", (41394, 39725, 34427), "voxel", (206, 203, 209))],
            ("/images/0/level_count", 9, None, 3),
            ("/images/5/level_count", 9, None, 3),
        ],
        "ADDRESS": [
            ("/images/0/url", "neuroglancer-janelia-flyem-hemibrain/emdata/clahe_yz/jpeg"),
            ("/images/5/url", "neuroglancer-janelia-flyem-hemibrain/emdata/raw/jpeg"),
        ],
    },
}


def unit(record, pointer):
    """The unit of a field: in its name, or beside its value."""
    group, _, name = pointer.rpartition("/")
    above = group.rpartition("/")[2]
    if above in ("voxel_size", "origin"):
        return record["images"][int(pointer.split("/")[2])][above]["unit"]
    if "shape" in (above, name) or "chunk" in (above, name) or name.endswith("borders_x"):
        return "voxel"
    units = {"_nm": NM, "_um": "micrometer", "_kv": "kilovolt", "_na": "nanoampere", "_v": "volt", "_us": "microsecond",
             "_mhz": "megahertz", "_days": "day", "bytes": "byte", "_on_the_wire": "byte", "bytes_uncompressed": "byte"}
    if name.endswith("terabytes"):
        return "terabyte"
    return next((value for ending, value in units.items() if name.endswith(ending)), None)
