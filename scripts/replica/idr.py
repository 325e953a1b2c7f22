"""An image of the Image Data Resource: a TIFF file, and what OMERO says of it."""

from .files import SEED, truth, write_json
from .texture import nucleus

IMAGE, DATASET_ID, PROJECT = 9846137, 10740, 1161
FOLDER = "idr0086-miron-micrographs/20200610-ftp/experimentD/Miron_FIB-SEM/Miron_FIB-SEM_processed"
NAME = "Figure_S3B_FIB-SEM_U2OS_20x20x20nm_xy.tif"
DATASET = f"idr-{IMAGE}"
#: Folders that hold nothing else.
PARTS = ["idr", "ebi/pub"]


def write(output):
    """A big-endian ImageJ hyperstack and what OMERO says about it."""
    import numpy
    import tifffile

    low, high = 36, 199
    shape = (24, 155, 225)
    light = nucleus(shape, SEED)
    voxels = (low + (high - low) * ((light - 0.02) / 0.83)).round().clip(0, 255).astype(numpy.uint8)
    path = output / "ebi/pub/databases/IDR" / FOLDER / NAME
    path.parent.mkdir(parents=True)
    tifffile.imwrite(
        path, voxels, imagej=True, byteorder=">", resolution=(50, 50), resolutionunit="NONE",
        metadata={"axes": "ZYX", "unit": "\\u00B5m", "spacing": 0.02, "loop": False, "min": 36.0, "max": 199.0},
    )
    again = tifffile.imread(path)
    assert (again == voxels).all()

    ome = "http://www.openmicroscopy.org/Schemas/OME/2016-06#"
    details = {"@type": "TBD#Details"}
    length = {"@type": "TBD#LengthI", "Unit": "MICROMETER", "Symbol": "µm", "Value": 0.02}
    base = "https://idr.openmicroscopy.org/api/v0/m/images"
    no_permissions = {"canDelete": False, "canAnnotate": False, "canLink": False, "canEdit": False}
    image = {"data": {
        "@id": IMAGE, "@type": ome + "Image", "Name": NAME,
        "omero:archived": False, "omero:partial": False, "omero:series": 0,
        "omero:format": {"@id": 0, "@type": "TBD#Format", "value": "Tiff", "omero:details": details},
        "omero:details": details,
        "Pixels": {
            "@id": 0, "@type": ome + "Pixels",
            "SizeX": shape[2], "SizeY": shape[1], "SizeZ": shape[0], "SizeC": 1, "SizeT": 1, "SignificantBits": 8,
            "PhysicalSizeX": length, "PhysicalSizeY": length, "PhysicalSizeZ": length,
            "Type": {"@id": 0, "@type": "TBD#PixelsType", "value": "uint8", "omero:details": details},
            "DimensionOrder": {"@id": 0, "@type": "TBD#DimensionOrder", "value": "XYZCT", "omero:details": details},
            "omero:details": details,
            "Channels": [{"@id": 0, "@type": ome + "Channel", "omero:LogicalChannelId": 0, "SamplesPerPixel": 1,
                          "Color": -1, "omero:details": details}],
        },
        "url:datasets": f"{base}/{IMAGE}/datasets/", "url:rois": f"{base}/{IMAGE}/rois/",
    }}
    paths = {
        "repo": [f"demo_2/Blitz-0-Ice.ThreadPool.Server-1/2020-07/22/10-00-00.000/{NAME}"],
        "client": [f"uod/idr/filesets/{FOLDER}/{NAME}"],
        "fileset": {"id": 0},
    }

    def annotation(number, namespace, values, parent=None):
        parent = parent or {"id": IMAGE, "class": "ImageI", "name": NAME}
        return {
            "id": number, "ns": namespace, "name": None, "description": None, "owner": {"id": 0},
            "date": "2020-07-22T10:00:00Z", "permissions": no_permissions,
            "link": {"id": number, "owner": {"id": 0}, "parent": parent,
                     "date": "2020-07-22T10:00:00Z", "permissions": no_permissions},
            "class": "MapAnnotationI", "values": values,
        }

    annotations = {
        "annotations": [
            annotation(1, "openmicroscopy.org/omero/bulk_annotations", [
                ["Cell Cycle Stage", "G1"], ["Assay Description", "chromatin image in U2OS cells in G1"],
                ["Image Description", "FIB-SEM chromatin IF image in U2OS cells in G1"],
                ["Channels", "Channel 1: greyscale cell"]]),
            annotation(2, "openmicroscopy.org/mapr/organism", [["Organism", "Homo sapiens"]]),
            annotation(3, "openmicroscopy.org/mapr/cell_line", [["Cell Line", "U2OS"]]),
        ],
        "experimenters": [{"id": 0, "omeName": "demo", "firstName": "Public", "lastName": "data"}],
    }
    def listed(kind, number, name, more):
        """The answer of a list with one object."""
        item = {"@id": number, "@type": ome + kind, "Name": name, "omero:details": details, **more}
        return {"data": [item], "meta": {"offset": 0, "limit": 200, "maxLimit": 1000, "totalCount": 1}}

    project = "idr0086-miron-micrographs/experimentD"
    api = "https://idr.openmicroscopy.org/api/v0/m"
    datasets = listed("Dataset", DATASET_ID, "U2OS_chromatin", {
        "url:dataset": f"{api}/datasets/{DATASET_ID}/", "url:images": f"{api}/datasets/{DATASET_ID}/images/",
        "url:projects": f"{api}/datasets/{DATASET_ID}/projects/"})
    projects = listed("Project", PROJECT, project, {
        "url:project": f"{api}/projects/{PROJECT}/", "url:datasets": f"{api}/projects/{PROJECT}/datasets/"})
    # Keys and forms as IDR notes studies; values by the study's own repository.
    study = {
        "annotations": [annotation(4, "idr.openmicroscopy.org/study/info", [
            ["Publication Title", "Chromatin arranges in chains of mesoscale domains with nanoscale functional topography "
                                  "independent of cohesin"],
            ["Publication Authors", "Miron E, Oldenkamp R, Brown JM, Pinto DMS, Xu CS, Faria AR, Shaban HA, Rhodes JDP, "
                                    "Innocent C, de Ornellas S, Hess HF, Buckle V, Schermelleh L"],
            ["Publication DOI", "10.1126/sciadv.aba8811 https://doi.org/10.1126/sciadv.aba8811"],
            ["Release Date", "2020-07-22"], ["License", "CC BY 4.0 https://creativecommons.org/licenses/by/4.0/"],
            ["Copyright", "Lothar Schermelleh and Ezequiel Miron"], ["Data Publisher", "University of Dundee"],
            ["Data DOI", "10.17867/10000141d https://doi.org/10.17867/10000141d"]],
            {"id": PROJECT, "class": "ProjectI", "name": project})],
        "experimenters": annotations["experimenters"],
    }
    # The live server answers this for images whose pixels it no longer holds, with status 200.
    pixels = {
        "id": IMAGE, "perms": no_permissions,
        "meta": {"imageName": NAME, "projectName": "idr0086-miron-micrographs/experimentD", "datasetId": 10740,
                 "datasetName": "U2OS_chromatin", "imageId": IMAGE, "pixelsType": "uint8"},
        "Exception": f"Error instantiating pixel buffer: /OMERO/ManagedRepository/{paths['repo'][0]}",
    }
    idr = output / "idr"
    write_json(idr / "image.json", image)
    write_json(idr / "original_file_paths.json", paths)
    write_json(idr / "annotations.json", annotations)
    write_json(idr / "imgData.json", pixels)
    write_json(idr / "datasets.json", datasets)
    write_json(idr / "projects.json", projects)
    write_json(idr / "study.json", study)
    return {"em": truth(voxels)}
